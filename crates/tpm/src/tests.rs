//! What needs no TPM. The rest is in `crates/e2e/tests/tpm.rs`, with swtpm.

use keys::Keeper;
use proptest::prelude::*;

use super::*;
use crate::tools::trouble;

#[test]
fn registers_are_named_or_refused() {
    let table = [
        ("sha256:7", true),
        ("sha256:0,2,23", true),
        ("sha256:7+sha384:0,1", true),
        ("", false),
        ("7", false),
        ("sha256:", false),
        ("sha256:24", false),
        ("sha256:7,7", false),
        ("sha256:7+sha256:8", false),
        ("sha256:+7", false),
        ("sha256:007", false),
        ("sha256:7 ", false),
        ("sha1:7", false),
        ("sha256:7=/etc/passwd", false),
        ("-l", false),
    ];
    for (text, sound) in table {
        assert_eq!(Pcrs::new(text).is_ok(), sound, "{text:?}");
    }
}

fn held(pcrs: Option<&str>) -> Held {
    let pcrs = pcrs.map(|text| Pcrs::new(text).unwrap());
    Held { primary: vec![1; 34], pcrs, public: vec![2; 48], private: vec![3; 160] }
}

#[test]
fn what_is_kept_comes_again() {
    for pcrs in [None, Some("sha256:7"), Some("sha256:0,7+sha384:1")] {
        let bytes = held(pcrs).to_bytes();
        assert!(bytes.len() <= 1024);
        assert_eq!(Held::of(&bytes), Some(held(pcrs)));
        for len in 0..bytes.len() {
            assert_eq!(Held::of(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(Held::of(&[bytes.as_slice(), &[0]].concat()), None);
    }
}

/// As tpm2-tools 5.4 and TPM2-TSS say it.
#[test]
fn complaints_are_understood() {
    let load = "ERROR:tcti:src/tss2-tcti/tcti-device.c:452:Tss2_Tcti_Device_Init() Failed to open specified TCTI device file \
                /dev/tpmrm0: No such file or directory \nERROR: Could not load tcti, got: \"device:/dev/tpmrm0\"\n";
    let esys = |name: &str, code: &str| {
        format!(
            "WARNING:esys:src/tss2-esys/api/Esys_{name}.c:295:Esys_{name}_Finish() Received TPM Error \n\
             ERROR:esys:src/tss2-esys/api/Esys_{name}.c:98:Esys_{name}() Esys Finish ErrorCode (0x{code}) \n\
             ERROR: Esys_{name}(0x{code}) - tpm:session(1):told\nERROR: Unable to run it\n"
        )
    };
    let other = |words: &str| Trouble::Other("tpm2_unseal", words.to_owned());
    let table = [
        (
            "tpm2_unseal",
            load.to_owned(),
            Trouble::NoTpm(
                "Failed to open specified TCTI device file /dev/tpmrm0: No such file or directory".to_owned(),
            ),
        ),
        ("tpm2_unseal", esys("Unseal", "99D"), Trouble::Policy),
        ("tpm2_unseal", esys("Unseal", "128"), Trouble::Policy),
        ("tpm2_unseal", esys("Unseal", "921"), Trouble::Locked),
        ("tpm2_load", esys("Load", "1DF"), Trouble::Damaged),
        ("tpm2_createprimary", esys("CreatePrimary", "9A2"), Trouble::Owner),
        ("tpm2_createprimary", esys("CreatePrimary", "98E"), Trouble::Owner),
        ("tpm2_unseal", esys("Unseal", "98E"), other("Esys_Unseal(0x98E) - tpm:session(1):told")),
        (
            "tpm2_unseal",
            esys("Unseal", "zz"),
            other("esys:src/tss2-esys/api/Esys_Unseal.c:98:Esys_Unseal() Esys Finish ErrorCode (0xzz)"),
        ),
        ("tpm2_unseal", String::new(), other("it failed, and does not say why")),
    ];
    for (tool, said, expected) in table {
        assert_eq!(trouble(tool, &said), expected, "{said}");
    }
}

#[test]
fn where_there_is_no_tpm_it_is_told() {
    let tpm = Tpm::new(Some("device:/nonexistent".to_owned()), None);
    let told = tpm.keep(&[7; 32]).unwrap_err().to_string();
    let words = ["there is no TPM at device:/nonexistent", "install tpm2-tools"];
    assert!(words.iter().any(|words| told.contains(words)), "{told}");
    assert!(tpm.give(&[1, 2, 3]).unwrap_err().to_string().contains("damaged"));
    assert_eq!((tpm.kind(), tpm.place().as_str()), ("tpm2", "TPM 2.0"));
}

/// A tool that is missing, hangs, or prints without end.
#[test]
fn tools_that_do_not_do_their_work_are_told() {
    let tools = Tools::new("none".to_owned(), Duration::from_secs(60));
    let dir = Tpm::scratch().unwrap();
    let run = |tools: &Tools, tool, words: &[&str], input| tools.run(&dir, tool, words, input);
    assert_eq!(run(&tools, "no-such-tool", &[], None), Err(Trouble::NoTool("no-such-tool")));
    assert_eq!(*run(&tools, "cat", &[], Some(b"secret")).unwrap(), b"secret");
    assert_eq!(run(&tools, "sh", &["-c", "seq 100000"], None).unwrap().len(), 4096);
    let failed = run(&tools, "sh", &["-c", "echo ERROR: it is so >&2; exit 1"], None);
    assert_eq!(failed, Err(Trouble::Other("sh", "it is so".to_owned())));
    let limit = Duration::from_millis(50);
    let hasty = Tools::new("none".to_owned(), limit);
    for words in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000"] {
        assert_eq!(run(&hasty, "sh", &["-c", words], None), Err(Trouble::Time("sh", limit)), "{words}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, said in "(ERROR: Esys_)?[a-zA-Z(]{0,5}(0x)?[0-9A-F)\n :]{0,40}") {
        let _ = Held::of(&bytes);
        let _ = trouble("tpm2_unseal", &said);
    }

    #[test]
    fn changed_bytes_are_others_or_nothing(at: prop::sample::Index, byte: u8) {
        let mut bytes = held(Some("sha256:7")).to_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert_ne!(Held::of(&bytes), Some(held(Some("sha256:7"))));
    }
}
