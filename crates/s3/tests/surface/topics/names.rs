//! Unusual keys: each put, got, listed, copied, and deleted.

use crate::row::{Scene, delete, get, head, post, put, scene};

/// Keys that S3 takes ("Naming Amazon S3 objects"): any UTF-8.
const KEYS: &[&str] = &[
    "a b",
    "a+b",
    "a%b",
    "a%20b",
    "%41",
    "%",
    "a?b",
    "a#b",
    "a&b=c",
    "x=y",
    "a;b",
    "a:b",
    "a@b",
    "a,b",
    "a'b",
    "a\"b",
    "<a>",
    "a\\b",
    "a|b",
    "a^b",
    "a`b",
    "{a}",
    "[a]",
    "~a",
    "!a",
    "$a",
    "(a)",
    "*",
    "-",
    "--",
    "_",
    ".a",
    "a/",
    "a//",
    "/a",
    "//",
    "a//b",
    "..",
    ".",
    "../a",
    "a/../b",
    "./a",
    "a/..",
    "a/./b",
    ".../a",
    "a\nb",
    "a\r\nb",
    "a\tb",
    " a",
    "a ",
    "\n",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{e4}",
    "a\u{308}",
    "\u{4e2d}\u{6587}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
    "\u{202e}x",
    "\u{feff}x",
    "\u{fffd}",
    "\u{1f600}",
    "\u{10ffff}",
    "null",
    "undefined",
    "soap",
    "con",
    "a.b.c",
    "AWS4-HMAC-SHA256",
    "versionId",
    "uploads",
];

/// Some clients escape more, or less, or in small letters: the key is the same.
const ESCAPED: &[(&str, &str)] = &[
    ("/{b}/%61b", "ab"),
    ("/{b}/a%2fb", "a/b"),
    ("/{b}/a%2Fb", "a/b"),
    ("/{b}/%c3%a4", "\u{e4}"),
    ("/{b}/a+b", "a+b"),
    ("/{b}/a%2bb", "a+b"),
    ("/{b}/a:b@c,d", "a:b@c,d"),
    ("/{b}/(a)'!*", "(a)'!*"),
    ("/{b}/a%7Eb", "a~b"),
];

fn one(key: &str) -> Scene {
    let rows = [
        put("/{b}/{key}").sends("x").keep("tag", "etag"),
        get("/{b}/{key}").gives("x").says("etag", "{tag}"),
        head("/{b}/{key}").says("content-length", "1"),
        get("/{b}?encoding-type=url").names("Key", &["{key}"]),
        get("/{b}?list-type=2&encoding-type=url").query("prefix", "{key}").names("Key", &["{key}"]),
        put("/{b}/copy").with("x-amz-copy-source", "/{b}/{%key}"),
        get("/{b}/copy").gives("x"),
        delete("/{b}/{key}").is(204),
        get("/{b}?encoding-type=url").tag("Key", "copy"),
    ];
    scene(format!("the key {key:?}"), rows).var("key", key)
}

/// Every character of ASCII but NUL, in the middle of a key.
fn every_byte() -> Scene {
    let mut every = scene("every byte of ASCII", []);
    for byte in 1..=127u8 {
        let name = format!("k{byte}");
        let (at, copy) = (format!("/{{b}}/{{{name}}}"), format!("/{{b}}/{{%{name}}}"));
        every.rows.extend([
            put(&at).sends("x"),
            get(&at).gives("x"),
            get("/{b}?encoding-type=url").names("Key", &[&format!("{{{name}}}")]),
            put("/{b}/z").with("x-amz-copy-source", copy),
            delete(&at).is(204),
            get(&at).fails(404, "NoSuchKey"),
            delete("/{b}/z").is(204),
        ]);
        every = every.var(&name, format!("a{}b", char::from(byte)));
    }
    every
}

fn escaped((path, key): &(&str, &str)) -> Scene {
    let rows = [
        put("/{b}/{key}").wire_path(path).sends("x"),
        get("/{b}/{key}").gives("x"),
        get("/{b}/{key}").wire_path(path).gives("x"),
    ];
    scene(format!("the path {path}"), rows).var("key", *key)
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let mut scenes: Vec<Scene> = KEYS.iter().map(|key| one(key)).chain(ESCAPED.iter().map(escaped)).collect();
    scenes.extend([
        every_byte(),
        scene("keys that are none", [
            put("/{b}/k").wire_path("/{b}/%ff").sends("x").fails(400, "InvalidURI"),
            get("/{b}/k").wire_path("/{b}/%c3").fails(400, "InvalidURI"),
            get("/{b}/k").wire_path("/{b}/%zz").fails(400, "InvalidURI").differs(403, "SignatureDoesNotMatch", "an escape that is none is taken for itself, which nobody signs"),
        ]),
        scene("keys that differ in little", [
            put("/{b}/a").sends("1"),
            put("/{b}/A").sends("2"),
            put("/{b}/a/").sends("3"),
            put("/{b}/a//").sends("4"),
            put("/{b}/a ").sends("5"),
            put("/{b}/\u{e4}").sends("6"),
            put("/{b}/a\u{308}").sends("7"),
            get("/{b}/a").gives("1"),
            get("/{b}/A").gives("2"),
            get("/{b}/a/").gives("3"),
            get("/{b}/a//").gives("4"),
            get("/{b}/a ").gives("5"),
            get("/{b}/\u{e4}").gives("6"),
            get("/{b}/a\u{308}").gives("7"),
        ]),
        scene("a folder and what is in it", [
            put("/{b}/d/x").sends("in"),
            put("/{b}/d").sends("object"),
            put("/{b}/d/").sends("folder"),
            get("/{b}/d").gives("object"),
            get("/{b}/d/").gives("folder"),
            get("/{b}/d/x").gives("in"),
            delete("/{b}/d").is(204),
            get("/{b}/d/x").gives("in"),
            delete("/{b}/d/").is(204),
            get("/{b}/d/x").gives("in"),
        ]),
        scene("uploads to unusual keys", [
            post("/{b}/{key}?uploads").keep("id", "<UploadId>"),
            put("/{b}/{key}?partNumber=1&uploadId={id}").sends("x").keep("one", "etag"),
            get("/{b}?uploads&encoding-type=url").names("Key", &["{key}"]),
            post("/{b}/{key}?uploadId={id}").sends("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{one}</ETag></Part></CompleteMultipartUpload>"),
            get("/{b}/{key}").gives("x"),
        ]).var("key", "../a b?\n\u{1f600}/"),
        scene("unusual keys in a listing as it comes", [
            put("/{b}/a&b<c>\"d'").sends("x"),
            get("/{b}").has("<Key>a&amp;b&lt;c&gt;"),
        ]),
    ]);
    scenes
}
