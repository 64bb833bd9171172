//! The child's side: loads the token's library, logs in, and encrypts or decrypts once.

use std::io::{Read, Write};
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::frame::{Answer, Field, Request, Task, read_request, write_answer};

/// Bytes of the initialisation vector before the ciphertext.
const IV_LEN: usize = 12;
/// What the ciphertext is for: one made for another use under the same key does not open here.
const CONTEXT: &[u8] = b"holdfast/root/3";
const TAG_BITS: u64 = 128;

/// Reads one request, answers it. What the library prints must not get between: `out` should not be where it prints.
///
/// # Errors
/// When the pipes break. What goes wrong with the token is an answer.
pub fn serve(input: &mut dyn Read, out: &mut dyn Write) -> std::io::Result<()> {
    let request = read_request(input)?;
    write_answer(out, &answer(&request))
}

fn answer(request: &Request) -> Answer {
    let [module, token, key, pin] = [
        text(&request.module, "the module's path")?,
        text(&request.token, "the token's label")?,
        text(&request.key, "the key's label")?,
        text(&request.pin, "the PIN")?,
    ];
    let context = load(module)?;
    let (slot, info) = find_token(&context, module, token)?;
    let session = log_in(&context, slot, &info, token, pin)?;
    let key_handle = find_key(&session, token, key)?;
    let supported = context.get_mechanism_list(slot).map_err(|error| failed("listing mechanisms", &error))?;
    if !supported.contains(&MechanismType::AES_GCM) {
        return Err(format!("token {token:?} has no CKM_AES_GCM, which the root key is sealed by; use another token"));
    }
    match request.task {
        Task::Encrypt => encrypt(&session, key_handle, key, &request.data),
        Task::Decrypt => decrypt(&session, key_handle, key, &request.data),
    }
}

fn text<'a>(field: &'a Field, what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(field).map_err(|_| format!("{what} is not UTF-8"))
}

fn failed(what: &str, error: &Error) -> String {
    format!("{what}: {error}")
}

fn load(module: &str) -> Result<Pkcs11, String> {
    if !Path::new(module).is_file() {
        return Err(format!("there is no PKCS#11 module {module}; install the vendor's library, or name it rightly"));
    }
    let context = Pkcs11::new(module).map_err(|error| failed(&format!("{module} is no PKCS#11 module"), &error))?;
    let done = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    done.map_err(|error| failed(&format!("the PKCS#11 module {module} does not start"), &error))?;
    Ok(context)
}

fn find_token(context: &Pkcs11, module: &str, label: &str) -> Result<(Slot, TokenInfo), String> {
    let slots = context.get_slots_with_token().map_err(|error| failed("listing tokens", &error))?;
    let mut others = Vec::new();
    let mut found = Vec::new();
    for slot in slots {
        // A slot whose token was pulled out meanwhile is as good as empty.
        let Ok(info) = context.get_token_info(slot) else { continue };
        if info.label() == label { found.push((slot, info)) } else { others.push(info.label().to_owned()) }
    }
    let one = found.pop().ok_or_else(|| {
        format!("there is no token {label:?} at {module}, only {others:?}; plug it in, or name it rightly")
    })?;
    if found.is_empty() { Ok(one) } else { Err(format!("several tokens are called {label:?}; unplug the others")) }
}

/// A token locks itself after some wrong PINs, and a server that is started again and again would do that: where only
/// one try is left, it is left to a person.
fn log_in(context: &Pkcs11, slot: Slot, info: &TokenInfo, token: &str, pin: &str) -> Result<Session, String> {
    if info.user_pin_locked() {
        return Err(format!("token {token:?} is locked after too many wrong PINs; its security officer can unlock it"));
    }
    if info.user_pin_final_try() {
        return Err(format!(
            "token {token:?} locks itself after one more wrong PIN, so none was tried; log in once with the vendor's tool"
        ));
    }
    let session = context.open_ro_session(slot).map_err(|error| failed("opening a session", &error))?;
    let pin = AuthPin::new(pin.to_owned().into());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) => Ok(session),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            let few = context
                .get_token_info(slot)
                .is_ok_and(|info| info.user_pin_count_low() || info.user_pin_final_try() || info.user_pin_locked());
            let left = if few { "few tries are left" } else { "a token locks itself after some wrong PINs" };
            Err(format!("this is not the PIN of token {token:?}; {left}: find the right one before you try again"))
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => {
            Err(format!("token {token:?} is locked after too many wrong PINs; its security officer can unlock it"))
        }
        Err(error) => Err(failed(&format!("logging in to token {token:?}"), &error)),
    }
}

fn find_key(session: &Session, token: &str, label: &str) -> Result<ObjectHandle, String> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let mut found = session.find_objects(&template).map_err(|error| failed("looking for the key", &error))?;
    let one = found.pop().ok_or_else(|| {
        format!(
            "there is no AES key {label:?} on token {token:?}; make it once: pkcs11-tool --module MODULE --token-label \
             {token} --login --keygen --key-type AES:32 --label {label}"
        )
    })?;
    if found.is_empty() {
        Ok(one)
    } else {
        Err(format!("token {token:?} has several AES keys {label:?}; rename the others"))
    }
}

fn encrypt(session: &Session, key: ObjectHandle, label: &str, plain: &[u8]) -> Answer {
    // Some tokens (those that follow FIPS 140) make the vector themselves and write it here.
    let mut iv = [0; IV_LEN];
    std::fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut iv)).map_err(|e| e.to_string())?;
    let sealed = {
        let params = GcmParams::new(&mut iv, CONTEXT, TAG_BITS.into()).map_err(|error| failed("AES-GCM", &error))?;
        session.encrypt(&Mechanism::AesGcm(params), key, plain)
    };
    let sealed = sealed.map_err(|error| failed(&format!("encrypting by key {label:?}"), &error))?;
    Ok(Zeroizing::new([iv.as_slice(), &sealed].concat()))
}

fn decrypt(session: &Session, key: ObjectHandle, label: &str, kept: &[u8]) -> Answer {
    let refused = || format!("key {label:?} does not open this root key: it is another key, or the file is damaged");
    let (iv, sealed) = kept.split_first_chunk::<IV_LEN>().ok_or_else(refused)?;
    let mut iv = *iv;
    let params = GcmParams::new(&mut iv, CONTEXT, TAG_BITS.into()).map_err(|error| failed("AES-GCM", &error))?;
    match session.decrypt(&Mechanism::AesGcm(params), key, sealed) {
        Ok(plain) => Ok(Zeroizing::new(plain)),
        // What tokens say of a tag that does not fit differs.
        Err(Error::Pkcs11(
            RvError::EncryptedDataInvalid
            | RvError::EncryptedDataLenRange
            | RvError::GeneralError
            | RvError::FunctionFailed,
            _,
        )) => Err(refused()),
        Err(error) => Err(failed(&format!("decrypting by key {label:?}"), &error)),
    }
}
