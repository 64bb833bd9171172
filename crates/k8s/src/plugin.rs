//! What the three calls do.
//!
//! A key id is `<portion id>/<version>`, so it changes with each rotation, and kube-apiserver then seals its keys anew. What is
//! sealed is bound to its use: a ciphertext of the KMS API under the same key opens here no more than the other way round.

use std::sync::{Arc, OnceLock};

use base::{AccountId, Classify, ErrorKind, PortionId};
use keys::{Caller, EncryptionContext, KeyName, PortionError, Portions, Who};
use release::Via;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::limits::PLAINTEXT_MAX;
use crate::message::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse};

/// The version of the protocol.
const VERSION: &str = "v2";
/// All is well.
const OK: &str = "ok";
/// The key is one of the default tenant's.
const HOME: AccountId = AccountId::DEFAULT;
/// What every ciphertext is bound to.
const USE: (&str, &str) = ("holdfast:use", "kubernetes/v2");

/// The plugin. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Plugin(Arc<Inner>);

struct Inner {
    portions: Portions,
    /// The key as it was named: by id, name or alias.
    named: String,
    /// The key that it was when it was first found. An alias that is moved later moves nothing here: what was sealed must
    /// open.
    key: OnceLock<PortionId>,
    context: EncryptionContext,
}

impl Plugin {
    pub(crate) fn new(portions: Portions, named: String) -> Self {
        // Whoever reaches the socket: policies and budgets know it by this name.
        let caller = Caller::new(HOME, Who::kubernetes(), Via::Kubernetes, false, None);
        let portions = portions.for_caller(Arc::new(caller));
        let context = [(USE.0.to_owned(), USE.1.to_owned())].into();
        Self(Arc::new(Inner { portions, named, key: OnceLock::new(), context }))
    }

    async fn key(&self) -> Result<PortionId, Status> {
        let Inner { portions, named, key, .. } = self.0.as_ref();
        if let Some(key) = key.get() {
            return Ok(*key);
        }
        let found = portions.find(HOME, named).await.map_err(status)?;
        tracing::info!(key = %keys::dashed(found.id), named, "Kubernetes' keys are sealed under this key");
        Ok(*key.get_or_init(|| found.id))
    }

    pub(crate) async fn status(self, _: StatusRequest) -> Result<StatusResponse, Status> {
        let portion = self.key().await?;
        let portions = &self.0.portions;
        let (name, healthz) = match portions.newest(HOME, portion).await {
            Ok(name) => match portions.must_be_released(HOME, portion).await {
                Ok(()) => (name, OK.to_owned()),
                // The API server would go on with the keys in its memory until it restarts, and then be down.
                Err(error) if is_refused(&error) => (name, error.to_string()),
                Err(error) => return Err(status(error)),
            },
            // Told as the API server shows it to an operator; the key id stays the one that was.
            Err(error) if is_shut(&error) => {
                let version = portions.get(HOME, portion).await.map_err(status)?.record.version;
                (KeyName { portion, version }, error.to_string())
            }
            Err(error) => return Err(status(error)),
        };
        Ok(StatusResponse { version: VERSION.to_owned(), healthz, key_id: key_id(name) })
    }

    pub(crate) async fn encrypt(self, request: EncryptRequest) -> Result<EncryptResponse, Status> {
        let plaintext = Zeroizing::new(request.plaintext);
        tracing::debug!(uid = %request.uid.escape_debug(), "encrypt");
        if plaintext.is_empty() || plaintext.len() > PLAINTEXT_MAX {
            return Err(Status::invalid_argument(format!("a plaintext has 1 to {PLAINTEXT_MAX} bytes")));
        }
        let portion = self.key().await?;
        let Inner { portions, context, .. } = self.0.as_ref();
        let ciphertext = portions.encrypt(HOME, portion, context, &plaintext).await.map_err(status)?;
        let (name, _) = keys::key_of(&ciphertext).ok_or_else(|| Status::internal("a ciphertext names no key"))?;
        // Nothing is to be kept beside it.
        Ok(EncryptResponse { ciphertext, key_id: key_id(name), annotations: Default::default() })
    }

    pub(crate) async fn decrypt(self, request: DecryptRequest) -> Result<DecryptResponse, Status> {
        tracing::debug!(uid = %request.uid.escape_debug(), "decrypt");
        if !request.annotations.is_empty() {
            return Err(Status::invalid_argument("there are annotations; this plugin makes none"));
        }
        let (name, _) = keys::key_of(&request.ciphertext).ok_or_else(|| status(PortionError::Ciphertext))?;
        if request.key_id != key_id(name) {
            return Err(Status::invalid_argument("the ciphertext is under another key than its key_id says"));
        }
        let portion = self.key().await?;
        let Inner { portions, context, .. } = self.0.as_ref();
        let opened = portions.decrypt(HOME, Some(portion), context, &request.ciphertext).await.map_err(status)?;
        Ok(DecryptResponse { plaintext: opened.plain.to_vec() })
    }
}

fn key_id(name: KeyName) -> String {
    format!("{}/{}", keys::dashed(name.portion), name.version)
}

/// Whether the key is there and opens nothing.
fn is_shut(error: &PortionError) -> bool {
    matches!(
        error,
        PortionError::Disabled(_)
            | PortionError::PendingShred { .. }
            | PortionError::Shredded(_)
            | PortionError::HalfRefused { .. }
    )
}

/// Whether the key is there, and not for the plugin.
fn is_refused(error: &PortionError) -> bool {
    matches!(error, PortionError::Release(_) | PortionError::UnreadablePolicies)
}

/// An error as gRPC tells it. What an operator must look at is in the log.
fn status(error: PortionError) -> Status {
    let code = match &error {
        PortionError::Shredded(_) => Code::NotFound,
        PortionError::Release(_) | PortionError::HalfRefused { .. } => Code::PermissionDenied,
        PortionError::OtherKey => Code::InvalidArgument,
        error => match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Denied => Code::FailedPrecondition,
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Unavailable | ErrorKind::Full => Code::Unavailable,
            ErrorKind::Conflict => Code::Aborted,
            _ => {
                tracing::error!(%error, "a request of Kubernetes failed");
                return Status::internal("the request failed for a reason that is in the server's log");
            }
        },
    };
    Status::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Doors, ManualClock, SeededRng};
    use keys::{Keyring, Switch};
    use meta::record::DenialReason;
    use release::{Action, Decision, Language, Mistakes, NoLanguage, Outcome, Policies, Question};

    fn world(named: &str) -> (Arc<ManualClock>, Portions, Plugin) {
        let (clock, rng) = (Arc::new(ManualClock::new(1_000_000)), Arc::new(SeededRng::new(1)));
        let ring = Arc::new(Keyring::ephemeral(rng.as_ref()));
        let doors = Doors { clock: clock.clone(), rng };
        let portions = Portions::new(Arc::new(meta::Memory::new()), ring, doors);
        (clock, portions.clone(), Plugin::new(portions, named.to_owned()))
    }

    /// A language that knows two documents.
    struct OneWord;

    impl Language for OneWord {
        fn parse(&self, documents: &[(&str, &str)]) -> Result<Arc<dyn Policies>, Mistakes> {
            match documents.iter().find(|(_, text)| !["open", "none"].contains(text)) {
                Some((name, _)) => Err(Mistakes::no_policy(name)),
                None if documents.is_empty() => NoLanguage.parse(&[]),
                None => Ok(Arc::new(Only(documents.iter().any(|(_, text)| *text == "open")))),
            }
        }
    }

    /// Whether anything is opened. Nothing is sealed.
    struct Only(bool);

    impl Policies for Only {
        fn decide(&self, question: &Question<'_>) -> Decision {
            let refused = Decision { outcome: Outcome::Deny, ..Decision::unruled() };
            if self.0 && question.action == Action::Open { Decision::unruled() } else { refused }
        }

        fn is_empty(&self) -> bool {
            false
        }
    }

    async fn seal(plugin: &Plugin, plaintext: &[u8]) -> Result<EncryptResponse, Status> {
        plugin.clone().encrypt(EncryptRequest { plaintext: plaintext.to_vec(), uid: "u".to_owned() }).await
    }

    async fn open(plugin: &Plugin, sealed: &EncryptResponse) -> Result<Vec<u8>, Code> {
        let EncryptResponse { ciphertext, key_id, annotations } = sealed.clone();
        let asked = DecryptRequest { ciphertext, uid: "u".to_owned(), key_id, annotations };
        plugin.clone().decrypt(asked).await.map(|opened| opened.plaintext).map_err(|status| status.code())
    }

    async fn told(plugin: &Plugin) -> StatusResponse {
        plugin.clone().status(StatusRequest {}).await.unwrap()
    }

    #[tokio::test]
    async fn keys_are_sealed_and_a_rotation_is_seen() {
        let (clock, portions, plugin) = world("alias/k8s");
        assert_eq!(plugin.clone().status(StatusRequest {}).await.unwrap_err().code(), Code::NotFound);
        let id = portions.named(HOME, "k8s").await.unwrap();
        portions.create_alias(HOME, "k8s", id).await.unwrap();
        let first = told(&plugin).await;
        let expected = format!("{}/1", keys::dashed(id));
        assert_eq!((first.version.as_str(), first.healthz.as_str(), &first.key_id), ("v2", "ok", &expected));
        let sealed = seal(&plugin, b"seed").await.unwrap();
        assert_eq!((&sealed.key_id, sealed.annotations.len()), (&first.key_id, 0));
        // kube-apiserver takes no more.
        assert!(seal(&plugin, &[7; 64]).await.unwrap().ciphertext.len() <= 1_024);
        assert_eq!(open(&plugin, &sealed).await.unwrap(), b"seed");

        portions.rotate(HOME, id, false).await.unwrap();
        assert_eq!(told(&plugin).await.key_id, format!("{}/2", keys::dashed(id)));
        let after = seal(&plugin, b"seed").await.unwrap();
        assert_eq!(after.key_id, told(&plugin).await.key_id);
        assert_eq!(open(&plugin, &sealed).await.unwrap(), b"seed");
        assert_eq!(open(&plugin, &after).await.unwrap(), b"seed");
        // Age rotates, though nobody seals anything.
        clock.advance_ms(31 * 24 * 3600 * 1000);
        assert_eq!(told(&plugin).await.key_id, format!("{}/3", keys::dashed(id)));

        // An alias that moves takes nothing away.
        let other = portions.named(HOME, "other").await.unwrap();
        portions.update_alias(HOME, "k8s", other).await.unwrap();
        assert_eq!(open(&plugin, &sealed).await.unwrap(), b"seed");
    }

    #[tokio::test]
    async fn what_was_not_sealed_here_is_refused() {
        let (_, portions, plugin) = world("k8s");
        let (id, other) = (portions.named(HOME, "k8s").await.unwrap(), portions.named(HOME, "x").await.unwrap());
        let sealed = seal(&plugin, b"seed").await.unwrap();
        let context = plugin.0.context.clone();
        let of = async |portion, context: &EncryptionContext| {
            let ciphertext = portions.encrypt(HOME, portion, context, b"seed").await.unwrap();
            let key_id = key_id(keys::key_of(&ciphertext).unwrap().0);
            EncryptResponse { ciphertext, key_id, ..EncryptResponse::default() }
        };
        let flip = |at: usize| {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            changed
        };
        let last = sealed.ciphertext.len() - 1;
        let annotated = [("a.example".to_owned(), vec![1])].into();
        for (row, asked) in [
            ("of the KMS API", of(id, &EncryptionContext::new()).await),
            ("under another key", of(other, &context).await),
            ("another key id", EncryptResponse { key_id: sealed.key_id.replace("/1", "/2"), ..sealed.clone() }),
            ("no key id", EncryptResponse { key_id: String::new(), ..sealed.clone() }),
            ("no ciphertext", EncryptResponse { ciphertext: Vec::new(), ..sealed.clone() }),
            ("another version", flip(23)),
            ("another portion", flip(10)),
            ("a changed one", flip(last)),
            ("annotations", EncryptResponse { annotations: annotated, ..sealed.clone() }),
        ] {
            assert_eq!(open(&plugin, &asked).await, Err(Code::InvalidArgument), "{row}");
        }
        // The other way round.
        let asked = portions.decrypt(HOME, Some(id), &EncryptionContext::new(), &sealed.ciphertext).await;
        assert!(matches!(asked, Err(PortionError::Ciphertext)));
        for plaintext in [&b""[..], &[0; PLAINTEXT_MAX + 1]] {
            assert_eq!(seal(&plugin, plaintext).await.unwrap_err().code(), Code::InvalidArgument);
        }
        seal(&plugin, &[0; PLAINTEXT_MAX]).await.unwrap();
        assert_eq!(open(&plugin, &sealed).await.unwrap(), b"seed");
    }

    #[tokio::test]
    async fn a_key_that_is_shut_is_told_as_such() {
        let (clock, portions, plugin) = world("k8s");
        let id = portions.named(HOME, "k8s").await.unwrap();
        let sealed = seal(&plugin, b"seed").await.unwrap();
        let first = told(&plugin).await;
        for (switch, words, code) in [
            (Switch::Disable, "`holdfast portion enable`", Code::FailedPrecondition),
            (Switch::Shred { days: 7 }, "`holdfast portion keep`", Code::FailedPrecondition),
        ] {
            portions.switch(HOME, id, switch).await.unwrap();
            let now = told(&plugin).await;
            assert!(now.healthz.contains(words), "{}", now.healthz);
            assert_eq!(now.key_id, first.key_id);
            assert_eq!(open(&plugin, &sealed).await, Err(code));
            assert_eq!(seal(&plugin, b"seed").await.unwrap_err().code(), code);
        }
        clock.advance_ms(7 * 24 * 3_600_000);
        portions.shred(HOME, id).await.unwrap();
        assert!(told(&plugin).await.healthz.contains("was shredded"));
        assert_eq!(open(&plugin, &sealed).await, Err(Code::NotFound));
        assert_eq!(seal(&plugin, b"seed").await.unwrap_err().code(), Code::NotFound);
    }

    /// Else the API server would look well until it restarts.
    #[tokio::test]
    async fn a_refusal_is_told_by_status_before_it_is_felt() {
        let (clock, portions, plugin) = world("k8s");
        portions.named(HOME, "k8s").await.unwrap();
        let sealed = seal(&plugin, b"seed").await.unwrap();
        let first = told(&plugin).await;
        assert_eq!(first.healthz, OK);
        portions.deny(HOME, &Who::kubernetes(), DenialReason::Lost, "").await.unwrap();
        let now = told(&plugin).await;
        assert!(now.healthz.contains("nothing is released to kubernetes: it was reported lost"), "{}", now.healthz);
        assert_eq!(now.key_id, first.key_id);
        assert_eq!(open(&plugin, &sealed).await, Err(Code::PermissionDenied));
        assert_eq!(seal(&plugin, b"seed").await.unwrap_err().code(), Code::PermissionDenied);
        portions.readmit(HOME, &Who::kubernetes()).await.unwrap();
        clock.advance_ms(keys::LEASE_MS);
        assert_eq!(told(&plugin).await.healthz, OK);
        assert_eq!(open(&plugin, &sealed).await.unwrap(), b"seed");

        // A policy that lets it do half of what it does is told as well.
        let portions = portions.speaking(Arc::new(OneWord));
        let plugin = Plugin::new(portions.clone(), "k8s".to_owned());
        for document in ["open", "none"] {
            portions.put_release_policy(HOME, "doc", document).await.unwrap();
            let now = told(&plugin).await;
            assert!(now.healthz.contains("no release policy permits it"), "{document}: {}", now.healthz);
            assert_eq!(now.key_id, first.key_id);
        }
        portions.delete_release_policy(HOME, "doc").await.unwrap();
        assert_eq!(told(&plugin).await.healthz, OK);
    }
}
