//! Other S3 engines as sites: a bucket of one each, which a test can also reach past Holdfast.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use engines::garage::Build;
use engines::{Engine, Keep, REGION, garage, seaweedfs};

use crate::{env, told};

/// The bucket in every engine.
const BUCKET: &str = "site";

/// An engine that ends with the test.
pub struct Foreign {
    engine: Engine,
    name: &'static str,
}

impl Foreign {
    /// Garage of one node, in a folder of its own below `dir`; where it was not built, another SeaweedFS.
    pub fn garage(dir: &Path) -> Self {
        if let Some(binary) = garage::built(&tools(), Build::Quick) {
            return Self::on("garage", garage::start(&binary, &dir.join("garage"), (1, 1), Keep::Synced));
        }
        crate::skip("garage as a site", "it takes minutes to build: HOLDFAST_E2E_GARAGE=1 cargo xtask e2e engines_");
        Self::on("weed2", seaweedfs::start(&tools().join("bin/weed"), &dir.join("weed2"), Keep::Synced))
    }

    /// SeaweedFS in one process, in a folder of its own below `dir`.
    pub fn seaweedfs(dir: &Path) -> Self {
        Self::on("seaweedfs", seaweedfs::start(&tools().join("bin/weed"), &dir.join("weed"), Keep::Synced))
    }

    fn on(name: &'static str, engine: Result<Engine, engines::Error>) -> Self {
        let it = Self { engine: engine.unwrap_or_else(|error| panic!("{error}")), name };
        it.py(&["make"]);
        it
    }

    /// What it is called, as an engine and as a site.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What a gateway's configuration has for it.
    pub fn table(&self) -> String {
        let options: String = self.options().iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect();
        format!("[[site]]\nname = {:?}\nurl = \"{}\"\n[site.options]\n{options}", self.name(), self.url())
    }

    fn url(&self) -> String {
        format!("s3://{BUCKET}/shards-of-us")
    }

    fn options(&self) -> BTreeMap<String, String> {
        let keys = &self.engine.credentials;
        let endpoint = format!("http://{}", self.engine.endpoint);
        let options = [
            ("endpoint", endpoint.as_str()),
            ("region", REGION),
            ("access_key_id", &keys.access_key),
            ("secret_access_key", &keys.secret_key),
            ("allow_http", "true"),
        ];
        options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Names and sizes of what the bucket holds, by the engine's own listing.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        let text = self.py(&["list"]);
        let line = |line: &str| {
            let (size, name) = line.split_once(' ').unwrap_or_else(|| panic!("not a line of a listing: {line}"));
            (name.to_owned(), size.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
        };
        text.lines().map(line).collect()
    }

    /// Spoils every shard, in one way after the other: a bit turned, cut off, taken away. How many it spoiled.
    pub fn spoil(&self) -> u64 {
        self.py(&["spoil"]).trim().parse().expect("a number")
    }

    fn py(&self, args: &[&str]) -> String {
        let python = tools().join("bin/python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("py/engine.py");
        let mut command = Command::new(python);
        command.arg(script).args(args).env("PYTHONDONTWRITEBYTECODE", "1");
        for (name, value) in self.options() {
            command.env(name.to_uppercase(), value);
        }
        let output = command.env("BUCKET", BUCKET).output().expect("python3 runs");
        assert!(output.status.success(), "{}: {args:?}: {}\n{}", self.name(), told(&output), self.engine.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.engine.kill();
    }

    /// Starts it again where it was.
    pub fn boot(&mut self) {
        self.engine.boot().unwrap_or_else(|error| panic!("{error}\n{}", self.engine.log()));
    }

    /// Stops it in the middle of whatever it does; connections stay.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        for pid in self.engine.pids() {
            let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
            assert!(sent.expect("kill runs").success());
        }
    }
}

fn tools() -> PathBuf {
    env("HOLDFAST_E2E_TOOLS").into()
}
