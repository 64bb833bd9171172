"""A stream of a NATS server: makes it, or prints what it holds, a message a line."""

import base64
import json
import socket
import sys

port, token, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = socket.create_connection(("127.0.0.1", port), timeout=60)
reader = connection.makefile("rb")


def say(text):
    connection.sendall(text.encode())


def ask(subject, question):
    body = json.dumps(question)
    say(f"PUB $JS.API.{subject} answers {len(body)}\r\n{body}\r\n")
    while True:
        line = reader.readline().decode()
        if line.startswith("MSG"):
            answer = json.loads(reader.read(int(line.split()[-1]) + 2))
            return answer
        if line.startswith("PING"):
            say("PONG\r\n")
        assert line and not line.startswith("-ERR"), line


reader.readline()
say(f'CONNECT {{"verbose":false,"auth_token":"{token}"}}\r\nSUB answers 1\r\n')
if what == "make":
    answer = ask("STREAM.CREATE.EVENTS", {"name": "EVENTS", "subjects": ["s3.events"], "storage": "file"})
    assert "error" not in answer, answer
else:
    state = ask("STREAM.INFO.EVENTS", {})["state"]
    for seq in range(state["first_seq"], state["last_seq"] + 1):
        message = ask("STREAM.MSG.GET.EVENTS", {"seq": seq})["message"]
        print(base64.b64decode(message["data"]).decode())
