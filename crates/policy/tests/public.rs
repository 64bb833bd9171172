//! What Block Public Access calls public.

mod common;

use common::{bucket, identity};
use policy::is_public;

fn statement(effect: &str, principal: &str, condition: &str) -> String {
    format!(
        r#"{{"Effect": "{effect}", {principal}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", "Condition": {condition}}}"#
    )
}

#[test]
fn by_principal() {
    for (principal, expected) in [
        (r#""Principal": "*""#, true),
        (r#""Principal": {"AWS": "*"}"#, true),
        (r#""Principal": {"AWS": ["111122223333", "*"]}"#, true),
        (r#""Principal": {"AWS": "111122223333"}"#, false),
        (r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}"#, false),
        (r#""Principal": {"CanonicalUser": "c0ffee"}"#, false),
        (r#""Principal": {"Service": "logging.s3.amazonaws.com"}"#, false),
        (r#""Principal": {"Service": "*"}"#, true),
        (r#""NotPrincipal": {"AWS": "111122223333"}"#, true),
    ] {
        assert_eq!(is_public(&bucket(&statement("Allow", principal, "{}"))), expected, "{principal}");
        assert!(!is_public(&bucket(&statement("Deny", principal, "{}"))), "a denial gives nothing: {principal}");
    }
    assert!(!is_public(&identity(r#"{"Effect": "Allow", "Action": "*", "Resource": "*"}"#)));
}

#[test]
fn by_condition() {
    for (condition, expected) in [
        // Ranges of addresses.
        (r#"{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "203.0.113.7"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/7"}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "2001:db8::/31"}}"#, true),
        (r#"{"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"IpAddress": {"aws:VpcSourceIp": "10.0.0.0/24"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceIp": "203.0.113.7"}}"#, true),
        // Fixed values of the keys that count.
        (r#"{"StringEquals": {"aws:SourceVpc": "vpc-1"}}"#, false),
        (r#"{"StringEquals": {"AWS:sourcevpc": ["vpc-1", "vpc-2"]}}"#, false),
        (r#"{"StringLike": {"aws:SourceVpc": "vpc-*"}}"#, true),
        (r#"{"StringLike": {"aws:SourceVpc": "vpc-1"}}"#, false),
        (r#"{"StringEquals": {"aws:SourceVpce": ["vpce-1", "vpce-?"]}}"#, true),
        (r#"{"StringEqualsIgnoreCase": {"aws:PrincipalOrgID": "o-1"}}"#, false),
        (r#"{"StringEquals": {"aws:PrincipalOrgID": "${aws:PrincipalTag/org}"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceAccount": "111122223333"}}"#, false),
        (r#"{"StringEquals": {"aws:SourceOwner": "111122223333"}}"#, false),
        (r#"{"StringEquals": {"aws:userid": "AIDAEXAMPLE"}}"#, false),
        (r#"{"StringLike": {"aws:userid": "AROAEXAMPLE:*"}}"#, true),
        (r#"{"StringEquals": {"aws:userid": "anonymous"}}"#, true),
        (r#"{"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:111122223333:t"}}"#, false),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:111122223333:t"}}"#, true),
        (r#"{"ArnLike": {"aws:SourceArn": "*"}}"#, true),
        (r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/ann"}}"#, false),
        (r#"{"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}"#, true),
        (r#"{"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}"#, true),
        (r#"{"ForAnyValue:StringEquals": {"aws:SourceVpc": "vpc-1"}}"#, false),
        (r#"{"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}"#, true),
        (r#"{"Null": {"aws:SourceVpc": "false"}}"#, true),
        // An access point's name may be anything once its account is fixed.
        (r#"{"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu-west-1:111122223333:accesspoint/*"}}"#, false),
        (r#"{"ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu-west-1:111122223333:accesspoint/*"}}"#, false),
        (r#"{"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu-west-1:*:accesspoint/*"}}"#, true),
        (r#"{"ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:eu-west-1::accesspoint/*"}}"#, true),
        (r#"{"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:*"}}"#, true),
        (r#"{"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:111122223333:accesspoint/*"}}"#, true),
        (r#"{"StringEquals": {"s3:DataAccessPointAccount": "111122223333"}}"#, false),
        // What the caller chooses, or anyone can have.
        (r#"{"StringLike": {"aws:Referer": "https://example.com/"}}"#, true),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, true),
        (r#"{"StringEquals": {"s3:prefix": "public"}}"#, true),
        // One that counts is enough.
        (r#"{"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceVpc": "vpc-1"}}"#, false),
        ("{}", true),
    ] {
        let policy = bucket(&statement("Allow", r#""Principal": "*""#, condition));
        assert_eq!(is_public(&policy), expected, "{condition}");
    }
}

#[test]
fn one_public_statement_is_enough() {
    let fixed = statement("Allow", r#""Principal": {"AWS": "111122223333"}"#, "{}");
    let anyone = statement("Allow", r#""Principal": "*""#, "{}");
    let denied = statement("Deny", r#""Principal": "*""#, "{}");
    assert!(is_public(&bucket(&format!("{fixed}, {anyone}"))));
    assert!(is_public(&bucket(&format!("{denied}, {anyone}"))), "denials do not count");
    assert!(!is_public(&bucket(&format!("{fixed}, {denied}"))));
}
