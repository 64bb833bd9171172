//! The parent's side: asks a child, and waits no longer than a limit.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use keys::{Keeper, KeeperError};
use zeroize::Zeroizing;

use crate::frame::{Answer, Field, Request, Task, read_answer, write_request};

/// Network tokens take seconds to log in; what takes this long hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// Looks at a child that should have ended, and the time between two.
const ENDING: (u32, Duration) = (100, Duration::from_millis(10));
/// Bytes of a label (PKCS #11: 32, padded).
const LABEL_MAX: usize = 32;

/// Which key, of which token, by which library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenNames {
    /// The vendor's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The AES key's label.
    pub key: String,
}

/// A token that keeps secrets, reached through a child process.
pub struct Token {
    names: TokenNames,
    pin: Zeroizing<String>,
    /// How the child is started: a program, and its arguments.
    program: PathBuf,
    args: Vec<String>,
    limit: Duration,
}

impl Token {
    /// A token; nothing is asked yet. `program` with `args` is what runs [`crate::serve`] on its stdin and stdout.
    pub fn new(names: TokenNames, pin: Zeroizing<String>, program: PathBuf, args: Vec<String>) -> Self {
        Self { names, pin, program, args, limit: LIMIT }
    }

    /// The same, with another limit of time for each request.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    fn ask(&self, task: Task, data: &[u8]) -> Result<Field, KeeperError> {
        let too_long = [&self.names.token, &self.names.key].into_iter().find(|label| label.len() > LABEL_MAX);
        if let Some(label) = too_long {
            let told = format!("label {label:?} is longer than {LABEL_MAX} bytes");
            return Err(KeeperError::Failed(told));
        }
        let field = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let request = Request {
            task,
            module: field(self.names.module.as_os_str().as_encoded_bytes()),
            token: field(self.names.token.as_bytes()),
            key: field(self.names.key.as_bytes()),
            pin: field(self.pin.as_bytes()),
            data: field(data),
        };
        self.run(&request)?.map_err(KeeperError::Failed)
    }

    fn run(&self, request: &Request) -> Result<Answer, KeeperError> {
        let told =
            |error: std::io::Error| KeeperError::Unreachable(format!("the helper for PKCS#11 does not run: {error}"));
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A library that prints its environment should have nothing to tell. The rest is left: vendors have their own variables.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        let mut child = Ended(command.spawn().map_err(told)?);
        let (stdin, stdout) = (child.0.stdin.take(), child.0.stdout.take());
        let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
            return Err(told(ErrorKind::BrokenPipe.into()));
        };
        // One that has ended is told of by what it did not answer.
        let _ = write_request(&mut stdin, request);
        drop(stdin);
        let (answer, answered) = channel();
        std::thread::spawn(move || answer.send(read_answer(&mut stdout)));
        match answered.recv_timeout(self.limit) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(KeeperError::Unreachable(format!(
                "the PKCS#11 module {} crashed ({}); the vendor's log may say why",
                self.names.module.display(),
                child.status()
            ))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(KeeperError::Unreachable(format!(
                "the PKCS#11 module {} gave no answer in {} seconds; is the token reachable?",
                self.names.module.display(),
                self.limit.as_secs()
            ))),
        }
    }
}

/// Whether a variable is the server's own: what it opens its root key with, and the halves of tenants' keys.
fn is_ours(name: &OsStr) -> bool {
    let ours = [b"HOLDFAST_".as_slice(), b"AWS_"];
    ours.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix))
}

impl Keeper for Token {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn place(&self) -> String {
        format!("token {:?}, key {:?}", self.names.token, self.names.key)
    }

    fn keep(&self, secret: &[u8; 32]) -> Result<Vec<u8>, KeeperError> {
        Ok(self.ask(Task::Encrypt, secret)?.to_vec())
    }

    fn give(&self, kept: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        self.ask(Task::Decrypt, kept)
    }
}

/// A child that does not outlive who asks it.
struct Ended(Child);

impl Ended {
    fn status(&mut self) -> String {
        for _ in 0..ENDING.0 {
            match self.0.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => std::thread::sleep(ENDING.1),
                Err(error) => return error.to_string(),
            }
        }
        "it closed its pipe, and goes on".to_owned()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It has mostly ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_gets_no_secret_of_the_server() {
        // (variable, whether it is taken away)
        let table = [
            ("HOLDFAST_ROOT_PKCS11_PIN", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("AWS_SESSION_TOKEN", true),
            ("SOFTHSM2_CONF", false),
            ("LD_LIBRARY_PATH", false),
            ("HOME", false),
        ];
        for (name, taken) in table {
            assert_eq!(is_ours(OsStr::new(name)), taken, "{name}");
        }
    }

    fn asked(program: &str, args: &[&str], limit: Duration) -> String {
        let names = TokenNames { module: "/none.so".into(), token: "t".into(), key: "k".into() };
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let token = Token::new(names, Zeroizing::new("1234".to_owned()), program.into(), args).within(limit);
        token.keep(&[0; 32]).unwrap_err().to_string()
    }

    #[test]
    fn a_helper_that_fails_is_told() {
        let long = Duration::from_secs(60);
        // (program, arguments, limit, what is told)
        let table: [(&str, &[&str], Duration, &str); 5] = [
            ("/nonexistent", &[], long, "does not run"),
            ("true", &[], long, "crashed (exit status: 0)"),
            ("sh", &["-c", "kill -SEGV $$"], long, "crashed (signal: 11"),
            ("echo", &["what a library prints"], long, "crashed"),
            ("sleep", &["600"], Duration::from_millis(50), "gave no answer"),
        ];
        for (program, args, limit, told) in table {
            let error = asked(program, args, limit);
            assert!(error.contains(told), "{program}: {error}");
        }
    }
}
