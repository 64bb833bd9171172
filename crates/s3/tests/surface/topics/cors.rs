//! CORS: the configuration, and what browsers are told by it.

use crate::row::{Row, Scene, call, delete, get, put, scene};

const RULES: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>";

fn rules(inner: &str) -> Row {
    put("/{b}?cors").sends(format!("<CORSConfiguration><CORSRule>{inner}</CORSRule></CORSConfiguration>"))
}

fn preflight(origin: &str, method: &str) -> Row {
    call("OPTIONS", "/{b}/k").anonymous().with("origin", origin).with("access-control-request-method", method)
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("configuration", [
            get("/{b}?cors").fails(404, "NoSuchCORSConfiguration"),
            delete("/{b}?cors").is(204),
            put("/{b}?cors").sends("<CORSConfiguration></CORSConfiguration>").fails(400, "MalformedXML"),
            rules("<AllowedOrigin>*</AllowedOrigin>").fails(400, "MalformedXML"),
            rules("<AllowedMethod>GET</AllowedMethod>").fails(400, "MalformedXML"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod>").fails(400, "InvalidRequest").has("PATCH"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>get</AllowedMethod>").fails(400, "InvalidRequest"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>OPTIONS</AllowedMethod>").fails(400, "InvalidRequest"),
            rules("<AllowedOrigin>http://*.a.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>").fails(400, "InvalidRequest").has("more than one wildcard"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>a*b*</AllowedHeader>").fails(400, "InvalidRequest"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>x-*</ExposeHeader>").fails(400, "InvalidRequest"),
            rules("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>long</MaxAgeSeconds>").fails(400, "MalformedXML"),
            get("/{b}?cors").fails(404, "NoSuchCORSConfiguration"),
            rules("<ID>first</ID><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds>"),
            get("/{b}?cors").tag("ID", "first").tag("AllowedOrigin", "https://a.example").tag("AllowedMethod", "GET").tag("AllowedHeader", "x-*").tag("ExposeHeader", "ETag").tag("MaxAgeSeconds", "60"),
            delete("/{b}?cors").is(204),
            get("/{b}?cors").fails(404, "NoSuchCORSConfiguration"),
        ]),
        scene("preflight", [
            put("/{b}/k").sends("x"),
            preflight("https://a.example", "GET").fails(403, "AccessForbidden").has("CORS is not enabled"),
            put("/{b}?cors").sends(RULES),
            preflight("https://a.example", "PUT").with("access-control-request-headers", "X-Amz-Date, x-amz-meta-a")
                .says("access-control-allow-origin", "https://a.example").says("access-control-max-age", "60").says("access-control-allow-headers", "x-amz-date, x-amz-meta-a")
                .says("access-control-allow-methods", "GET, PUT").says("access-control-allow-credentials", "true").says("access-control-expose-headers", "ETag").says("vary", "*"),
            preflight("https://a.example", "PUT").with("access-control-request-headers", "authorization").fails(403, "AccessForbidden"),
            preflight("https://a.example", "DELETE").fails(403, "AccessForbidden"),
            preflight("http://a.example", "GET").fails(403, "AccessForbidden"),
            preflight("http://x.org", "HEAD").says("access-control-allow-origin", "*").hides("access-control-allow-credentials").hides("access-control-max-age"),
            call("OPTIONS", "/{b}/k").anonymous().with("access-control-request-method", "GET").fails(400, "BadRequest"),
            call("OPTIONS", "/{b}/k").anonymous().with("origin", "https://a.example").fails(400, "BadRequest"),
            call("OPTIONS", "/{b}/k").anonymous().with("origin", "https://a.example").with("access-control-request-method", "PATCH").fails(400, "BadRequest"),
            call("OPTIONS", "/{b}/none").anonymous().with("origin", "https://a.example").with("access-control-request-method", "GET").says("access-control-allow-origin", "https://a.example"),
            call("OPTIONS", "/{b}").anonymous().with("origin", "https://a.example").with("access-control-request-method", "GET").says("access-control-allow-origin", "https://a.example"),
        ]),
        scene("answers", [
            put("/{b}/k").sends("x"),
            put("/{b}?cors").sends(RULES),
            get("/{b}/k").with("origin", "https://b.example").says("access-control-allow-origin", "https://b.example").says("access-control-expose-headers", "ETag").says("vary", "*"),
            get("/{b}/k").with("origin", "http://b.other").hides("access-control-allow-origin"),
            get("/{b}/none").with("origin", "https://b.example").fails(404, "NoSuchKey").says("access-control-allow-origin", "https://b.example"),
            get("/{b}/k").anonymous().with("origin", "https://b.example").fails(403, "AccessDenied").says("access-control-allow-origin", "https://b.example"),
            get("/{b}/k").hides("access-control-allow-origin"),
            get("/{b}").with("origin", "https://b.example").says("access-control-allow-origin", "https://b.example"),
            put("/{b}/k").sends("y").with("origin", "https://b.example").says("access-control-allow-origin", "https://b.example"),
            delete("/{b}/k").with("origin", "https://b.example").is(204).hides("access-control-allow-origin"),
        ]),
    ]
}
