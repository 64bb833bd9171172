//! Documents that are refused, and what is said of them.

use crate::policies::Known;

#[test]
fn mistakes_are_named_with_their_place() {
    let rows = [
        ("permit(principal, action, resource)", "doc:1: "),
        ("\n\npermit(principal, action);", "doc:3: "),
        ("permit(principal, action, resource) when { principal.size > 3 };", "size"),
        ("permit(principal, action, resource) when { context.source_ip.isLoopback() };", "source_ip"),
        ("permit(principal == Device::\"x\", action, resource);", "Device"),
        ("permit(principal, action == Action::\"steal\", resource);", "steal"),
        ("permit(principal == ?principal, action, resource);", "templates"),
        ("@approvals(\"0\") permit(principal, action, resource);", "policy 1: @approvals(\"0\"): 1 to 9 people"),
        ("@approvals(\"many\") permit(principal, action, resource);", "1 to 9 people"),
        ("@after(\"2 weeks\") permit(principal, action, resource);", "30m, 8h or 2d"),
        ("@after(\"31d\") permit(principal, action, resource);", "at most 30d"),
        ("@after(\"99999999999999999999d\") permit(principal, action, resource);", "at most 30d"),
        ("@bytes(\"10 GB\") permit(principal, action, resource);", "10GiB"),
        ("@bytes(\"99999999TiB\") permit(principal, action, resource);", "10GiB"),
        ("@portions(\"0\") permit(principal, action, resource);", "a number from 1"),
        ("@over(\"pend\") permit(principal, action, resource);", "@over needs"),
        ("@objects(\"1\") @over(\"ask\") permit(principal, action, resource);", "pend or refuse"),
        ("@approvers(\"sec\") permit(principal, action, resource);", "need @approvals or @after"),
        ("@approvers(\"sec\") @after(\"1h\") permit(principal, action, resource);", "@approvers needs @approvals"),
        ("@approvers(\"\") @approvals(\"1\") permit(principal, action, resource);", "name of a group"),
        ("@record(\"later\") permit(principal, action, resource);", "\"first\""),
        ("@approval(\"1\") permit(principal, action, resource);", "@approval is not known"),
        ("@approvals(\"1\") forbid(principal, action, resource);", "a forbid takes no @approvals"),
        (
            "@id(\"a\") permit(principal, action, resource); @id(\"a\") permit(principal, action, resource);",
            "another's",
        ),
    ];
    for (text, said) in rows {
        let error = Known::parse(&[("doc", text)]).expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn all_mistakes_of_all_documents_are_told() {
    let documents = [
        ("a", "permit("),
        ("b", "@x(\"\") permit(principal, action, resource);\n@y(\"\") permit(principal, action, resource);"),
    ];
    let error = Known::parse(&documents).unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
}

#[test]
fn the_same_id_in_two_documents_is_fine() {
    let text = "@id(\"a\") permit(principal, action, resource);";
    assert_eq!(Known::parse(&[("one", text), ("two", text)]).unwrap().policies.len(), 2);
}
