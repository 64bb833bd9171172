//! Methods that a resource does not have.

use crate::row::{Scene, call, delete, head, post, put, scene};

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("of the service", [
            put("/").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            post("/").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            delete("/").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            head("/").is(405).differs(501, "NotImplemented", "the framework knows no such operation"),
            call("PATCH", "/").fails(405, "MethodNotAllowed"),
        ]),
        scene("of a bucket", [
            call("PATCH", "/{b}").fails(405, "MethodNotAllowed"),
            call("TRACE", "/{b}").fails(405, "MethodNotAllowed"),
            call("PROPFIND", "/{b}").fails(405, "MethodNotAllowed"),
            call("FETCH", "/{b}").fails(405, "MethodNotAllowed"),
            delete("/{b}?versioning").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            delete("/{b}?acl").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            delete("/{b}?location").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}?location").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}?versions").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}?policyStatus").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            head("/{b}").is(200),
        ]),
        scene("of an object", [
            put("/{b}/k").sends("x"),
            call("PATCH", "/{b}/k").fails(405, "MethodNotAllowed"),
            call("COPY", "/{b}/k").fails(405, "MethodNotAllowed"),
            delete("/{b}/k?acl").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            delete("/{b}/k?retention").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            delete("/{b}/k?legal-hold").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}/k?attributes").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}/k?uploads").sends("y").fails(405, "MethodNotAllowed").differs(501, "NotImplemented", "the framework knows no such operation"),
            put("/{b}/k?partNumber=1").sends("y").fails(400, "InvalidArgument").differs(501, "NotImplemented", "the framework takes it for an object that is put"),
            crate::row::get("/{b}/k").gives("x"),
        ]),
    ]
}
