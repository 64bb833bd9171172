//! ListObjects, versions 1 and 2.

use crate::row::{Row, Scene, delete, get, put, scene};

/// (query, keys, common prefixes, truncated), for both versions.
type Page = (&'static str, &'static [&'static str], &'static [&'static str], bool);

const KEYS: &[&str] = &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"];

#[rustfmt::skip]
const PAGES: &[Page] = &[
    ("", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("delimiter=/", &["a", "d e+f", "z"], &["b/"], false),
    ("delimiter=", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("delimiter=none", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("delimiter=b/", &["a", "d e+f", "z"], &["b/"], false),
    ("delimiter=c/", &["a", "b/1", "b/2", "d e+f", "z"], &["b/c/"], false),
    ("delimiter=e", &["a", "b/1", "b/2", "b/c/3", "z"], &["d e"], false),
    ("delimiter= ", &["a", "b/1", "b/2", "b/c/3", "z"], &["d "], false),
    ("prefix=", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("prefix=b/", &["b/1", "b/2", "b/c/3"], &[], false),
    ("prefix=b", &["b/1", "b/2", "b/c/3"], &[], false),
    ("prefix=b/&delimiter=/", &["b/1", "b/2"], &["b/c/"], false),
    ("prefix=b&delimiter=/", &[], &["b/"], false),
    ("prefix=/&delimiter=/", &[], &[], false),
    ("prefix=z", &["z"], &[], false),
    ("prefix=none", &[], &[], false),
    ("prefix=none&delimiter=/", &[], &[], false),
    ("max-keys=1", &["a"], &[], true),
    ("max-keys=2", &["a", "b/1"], &[], true),
    ("max-keys=0", &[], &[], false),
    ("max-keys=6", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("max-keys=5000", &["a", "b/1", "b/2", "b/c/3", "d e+f", "z"], &[], false),
    ("delimiter=/&max-keys=2", &["a"], &["b/"], true),
    ("delimiter=/&max-keys=4", &["a", "d e+f", "z"], &["b/"], false),
];

fn filled() -> Vec<Row> {
    KEYS.iter().map(|key| put(format!("/{{b}}/{key}")).sends("xy")).collect()
}

fn pages(version: &str) -> Vec<Row> {
    let mut rows = filled();
    for (query, keys, prefixes, truncated) in PAGES {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| format!("<Prefix>{prefix}</Prefix>")).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let row = get(format!("/{{b}}?{version}{query}")).tags("Key", keys).tags("CommonPrefixes", &prefixes);
        let row = row.tag("IsTruncated", if *truncated { "true" } else { "false" }).tag("Name", "{b}");
        let count = (keys.len() + prefixes.len()).to_string();
        let row = if version.is_empty() { row.lacks("<KeyCount>") } else { row.tag("KeyCount", &count) };
        rows.push(row);
    }
    rows
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("pages, version 1", pages("")),
        scene("pages, version 2", pages("list-type=2&")),
        scene("entries", [
            put("/{b}/k").sends("hello").keep("tag", "etag"),
            get("/{b}").tag("Size", "5").tag("ETag", "{tag}").tag("StorageClass", "STANDARD").has("<LastModified>20").has("<Owner>").has(".000Z</LastModified>"),
            get("/{b}?list-type=2").tag("Size", "5").tag("ETag", "{tag}").lacks("<Owner>").has(".000Z</LastModified>"),
            get("/{b}?versions").has(".000Z</LastModified>"),
            put("/{b}/copy").with("x-amz-copy-source", "/{b}/k").has(".000Z</LastModified>"),
            delete("/{b}/copy").is(204),
            get("/{b}?list-type=2&fetch-owner=true").has("<Owner>"),
            get("/{b}?list-type=2&fetch-owner=false").lacks("<Owner>"),
        ]),
        scene("markers", filled().into_iter().chain([
            get("/{b}?marker=b/1").tags("Key", &["b/2", "b/c/3", "d e+f", "z"]).tag("Marker", "b/1"),
            get("/{b}?marker=b/11").tags("Key", &["b/2", "b/c/3", "d e+f", "z"]),
            get("/{b}?marker=zz").tags("Key", &[]).tag("IsTruncated", "false"),
            get("/{b}?marker=").tag("MaxKeys", "1000").has("<Key>a</Key>"),
            get("/{b}?marker=b/&delimiter=/").tags("Key", &["d e+f", "z"]).lacks("<CommonPrefixes>"),
            get("/{b}?marker=b/1&delimiter=/").tags("Key", &["d e+f", "z"]).lacks("<CommonPrefixes>").differs(200, "", "a prefix is told again when the marker is inside it"),
            get("/{b}?max-keys=1&delimiter=/").tag("NextMarker", "a"),
            get("/{b}?max-keys=2&delimiter=/").tag("NextMarker", "b/"),
            get("/{b}?max-keys=1").lacks("<NextMarker>").tag("MaxKeys", "1"),
            get("/{b}?max-keys=2&delimiter=/&marker=b/").tags("Key", &["d e+f", "z"]).tag("IsTruncated", "false"),
        ])),
        scene("start-after and tokens", filled().into_iter().chain([
            get("/{b}?list-type=2&start-after=b/1").tags("Key", &["b/2", "b/c/3", "d e+f", "z"]).tag("StartAfter", "b/1"),
            get("/{b}?list-type=2&start-after=y").tags("Key", &["z"]),
            get("/{b}?list-type=2&start-after=zz").tags("Key", &[]).tag("KeyCount", "0"),
            get("/{b}?list-type=2&max-keys=2").tags("Key", &["a", "b/1"]).keep("token", "<NextContinuationToken>"),
            get("/{b}?list-type=2&max-keys=2").query("continuation-token", "{token}").tags("Key", &["b/2", "b/c/3"]).tag("ContinuationToken", "{token}").keep("last", "<NextContinuationToken>"),
            get("/{b}?list-type=2&max-keys=2").query("continuation-token", "{last}").tags("Key", &["d e+f", "z"]).lacks("<NextContinuationToken>").tag("IsTruncated", "false"),
            // A token outweighs where the first page began.
            get("/{b}?list-type=2&start-after=z").query("continuation-token", "{token}").tags("Key", &["b/2", "b/c/3", "d e+f", "z"]),
            get("/{b}?list-type=2&continuation-token=no token").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&continuation-token=").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&delimiter=/&max-keys=2").keep("token", "<NextContinuationToken>").has("<Prefix>b/</Prefix>"),
            get("/{b}?list-type=2&delimiter=/&max-keys=2").query("continuation-token", "{token}").tags("Key", &["d e+f", "z"]).lacks("<CommonPrefixes>"),
        ])),
        scene("arguments that are none", [
            get("/{b}?max-keys=-1").fails(400, "InvalidArgument"),
            get("/{b}?max-keys=some").fails(400, "InvalidArgument"),
            get("/{b}?max-keys=1.5").fails(400, "InvalidArgument"),
            get("/{b}?max-keys=99999999999").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&max-keys=-1").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&max-keys=some").fails(400, "InvalidArgument"),
            get("/{b}?encoding-type=hex").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&encoding-type=hex").fails(400, "InvalidArgument"),
            get("/{b}?list-type=2&fetch-owner=maybe").lacks("<Owner>").differs(400, "InvalidArgument", "what is neither true nor false is refused"),
            get("/{b}?list-type=2&max-keys=2000").tag("MaxKeys", "1000"),
        ]),
        scene("what was asked is told", [
            put("/{b}/a b").sends("x"),
            get("/{b}?prefix=a &delimiter=%&max-keys=7").tags("Prefix", &["a "]).tag("Delimiter", "%").tag("MaxKeys", "7"),
            get("/{b}?prefix=a &delimiter=%&encoding-type=url").names("Prefix", &["a "]).names("Delimiter", &["%"]).tag("EncodingType", "url").names("Key", &["a b"]),
            get("/{b}?marker=a +&encoding-type=url").names("Marker", &["a +"]),
            get("/{b}?list-type=2&start-after=a%&encoding-type=url").names("StartAfter", &["a%"]),
            get("/{b}").lacks("<EncodingType>").lacks("<Delimiter>"),
        ]),
        scene("names are in order of their bytes", [
            put("/{b}/B").sends("x"),
            put("/{b}/a").sends("x"),
            put("/{b}/\u{e4}").sends("x"),
            put("/{b}/-").sends("x"),
            put("/{b}/\u{ffee}").sends("x"),
            put("/{b}/\u{1f600}").sends("x"),
            get("/{b}").tags("Key", &["-", "B", "a", "\u{e4}", "\u{ffee}", "\u{1f600}"]),
        ]),
        scene("folders", [
            put("/{b}/d/"),
            put("/{b}/d/x").sends("x"),
            put("/{b}/d//y").sends("x"),
            put("/{b}//z").sends("x"),
            get("/{b}?delimiter=/").lacks("<Key>").tags("CommonPrefixes", &["<Prefix>/</Prefix>", "<Prefix>d/</Prefix>"]),
            get("/{b}?delimiter=/&prefix=d/").tags("Key", &["d/", "d/x"]).tag("CommonPrefixes", "<Prefix>d//</Prefix>"),
            get("/{b}?delimiter=/&prefix=/").tags("Key", &["/z"]).lacks("<CommonPrefixes>"),
            get("/{b}?delimiter=/&prefix=d").lacks("<Key>").tag("CommonPrefixes", "<Prefix>d/</Prefix>"),
        ]),
    ]
}
