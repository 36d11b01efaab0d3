//! What holds for every answer: ids, headers, paths, methods, bodies, their size, and who may call from a browser.

use std::time::Duration;

use reference_core::http::Request;
use reference_native::Service;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::ask::{by_root, told, with_body};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{ALLOWED_ORIGIN, Failed, Lab, Outcome};

/// Every path of the Config Service, with identifiers that nobody has.
const CONFIG_PATHS: [&str; 17] = [
    "/health",
    "/me",
    "/organization",
    "/organization/nobody",
    "/instance",
    "/instance/nobody",
    "/instance/nobody/access",
    "/instance/nobody/access/nobody",
    "/user",
    "/user/nobody",
    "/user/nobody/key",
    "/project",
    "/project/nobody",
    "/project/nobody/key",
    "/key/nobody",
    "/logs?instance_id=production",
    "/metrics",
];

/// Every path of the image-generation Worker.
const IMAGE_PATHS: [&str; 4] = ["/health", "/generate", "/jobs/nobody", "/images/a/b/c.png"];

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(
            contract,
            "request-ids",
            &["API-01", "API-02", "API-05", "API-06"],
            request_ids,
        ),
        Check::new(
            contract,
            "paths-that-do-not-exist",
            &["API-07", "API-03", "API-04"],
            paths,
        ),
        Check::new(
            contract,
            "methods-of-every-path",
            &["API-08", "API-13", "API-01", "API-03", "API-04", "API-06"],
            methods,
        ),
        Check::new(
            contract,
            "bodies-that-are-no-objects",
            &["API-09", "API-03", "API-04"],
            bodies,
        ),
        Check::new(contract, "ignored-bodies", &["API-09"], ignored_bodies),
        Check::new(contract, "size-of-bodies", &["API-10"], sizes),
        Check::new(contract, "size-of-unannounced-bodies", &["API-10"], unannounced),
        Check::new(contract, "order-of-refusals", &["API-11", "API-04"], order),
        Check::new(contract, "head", &["API-13"], head),
        Check::new(contract, "other-origins", &["API-14", "API-15"], origins),
        Check::new(contract, "health", &["API-16"], health),
        Check::new(contract, "numbers-and-twice-named-fields", &["API-17"], numbers),
    ]
}

async fn request_ids(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let ids = [
        "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
        "00000000-0000-0000-0000-000000000000",
        "6f9619ff-8b86-d011-b42d-00cf4fc964f",
        "6f9619ff-8b86-d011-b42d-00cf4fc964ffa",
        "6f9619ff8b86d011b42d00cf4fc964ff",
        "{6f9619ff-8b86-d011-b42d-00cf4fc964ff}",
        "6g9619ff-8b86-d011-b42d-00cf4fc964ff",
        "request",
        "",
    ];
    for id in ids {
        for service in [Service::Config, Service::Image] {
            let asked = Request::new("GET", "/health").header("x-request-id", id);
            told(lab.ask(service, asked).await, id)?.status(200)?;
            let asked = Request::new("GET", "/nothing").header("x-request-id", id);
            told(lab.ask(service, asked).await, id)?.status(404)?;
        }
    }
    for service in [Service::Config, Service::Image] {
        let (private, posted) = match service {
            Service::Config => ("/me", "/organization"),
            Service::Image => ("/jobs/00000000-0000-4000-8000-00000000000a", "/generate"),
        };
        for id in [None, Some(ids[0])] {
            let identified = |request: Request| match id {
                Some(id) => request.header("x-request-id", id),
                None => request,
            };
            let get = identified(Request::new("GET", private));
            lab.ask(service, get.clone()).await?.error(401, "AUTH_FAILED")?;
            lab.ask(service, get.bearer(&root)).await?;
            let put = identified(Request::new("PUT", private));
            lab.ask(service, put).await?.error(405, "METHOD_NOT_ALLOWED")?;
            let post = identified(Request::new("POST", posted).bearer(&root));
            let malformed = with_body(post.clone(), "application/json", "{");
            lab.ask(service, malformed).await?.error(400, "VALIDATION_FAILED")?;
            let large = with_body(post, "application/json", vec![b' '; 65_537]);
            lab.ask(service, large).await?.error(413, "PAYLOAD_TOO_LARGE")?;
            let preflight = identified(Request::new("OPTIONS", private)).header("access-control-request-method", "GET");
            lab.ask(service, preflight).await?.status(204)?;
        }
    }
    Ok(())
}

async fn paths(lab: &mut Lab) -> Outcome {
    let long = format!("/instance/{}", "a".repeat(64));
    let both = [
        "/",
        "/nothing",
        "//",
        "/health/",
        "/Health",
        "/%68ealth",
        "/health/more",
        "/me/",
        "/ME",
        "//me",
        "/instance/",
        "/instances",
        "/generate/",
        "/jobs",
        "/jobs/",
        "/images",
        "/images/a",
        "/images/a/b",
        "/images/a/b/c/d",
        "/v1/me",
    ];
    let config = [
        "/instance/production/",
        "/instance/Production",
        "/instance/%70roduction",
        "/instance/-production",
        "/instance/a_b",
        "/instance/nobody",
        &long,
        "/instance/production/what",
        "/instance/production/access/",
        "/user/nobody/keys",
        "/user/x/key/y",
        "/project/nobody",
        "/organization/nobody",
        "/key",
        "/key/",
        "/key/nobody",
        "/user/nobody",
        "/logs/",
        "/metrics/x",
        "/instance?org_id=nobody",
        "/instance?org_id=",
        "/instance?org_id=Example-Org",
        "/user?org_id=nobody",
        "/project?instance_id=nobody",
        "/project?instance_id=",
        "/project?instance_id=Production",
        "/logs?instance_id=nobody",
        "/metrics?instance_id=nobody",
        "/metrics?instance_id=production,nobody",
    ];
    let root = lab.keys.root.clone();
    for service in [Service::Config, Service::Image] {
        for path in both {
            // Some of them are paths of one of the services.
            lab.ask(service, Request::new("GET", path)).await?;
        }
    }
    for path in config {
        lab.config(Request::new("GET", path).bearer(&root))
            .await?
            .error(404, "NOT_FOUND")?;
    }
    Ok(())
}

async fn methods(lab: &mut Lab) -> Outcome {
    let root = lab.keys.root.clone();
    let everything = CONFIG_PATHS.map(|path| (Service::Config, path));
    let everything = everything
        .into_iter()
        .chain(IMAGE_PATHS.map(|path| (Service::Image, path)));
    for (service, path) in everything {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            lab.ask(service, Request::new(method, path).bearer(&root)).await?;
        }
        for method in ["GET", "POST", "PUT", "OPTIONS"] {
            lab.ask(service, Request::new(method, path)).await?;
        }
    }
    Ok(())
}

async fn head(lab: &mut Lab) -> Outcome {
    for path in [
        "/health",
        "/me",
        "/organization",
        "/instance/production",
        "/instance/nobody",
        "/logs",
        "/nothing",
    ] {
        let request = by_root(lab, "HEAD", path);
        let answers = lab.config(request).await?;
        lab.require(answers.subject.body.is_empty(), format!("HEAD {path} has a body"))?;
        lab.config(Request::new("HEAD", path)).await?;
    }
    Ok(())
}

async fn bodies(lab: &mut Lab) -> Outcome {
    let valid = r#"{"org_id":"of-bodies","name":"Of bodies","billing_email":"bills@bodies.example"}"#;
    let texts: [&[u8]; 16] = [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"\"text\"",
        b"1",
        b"true",
        b"{}{}",
        b"{},",
        b"{'name':'x'}",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"x\",}",
        b"{\"name\":NaN}",
        b"[{\"name\":\"x\"}]",
        b"{\"name\":\"a\nb\"}",
    ];
    let targets = [
        (Service::Config, "POST", "/organization"),
        (Service::Config, "PATCH", "/instance/production"),
        (Service::Config, "POST", "/project"),
        (Service::Image, "POST", "/generate"),
    ];
    for (service, method, path) in targets {
        for text in texts {
            let request = with_body(by_root(lab, method, path), "application/json", text);
            told(lab.ask(service, request).await, &String::from_utf8_lossy(text))?.error(400, "VALIDATION_FAILED")?;
        }
    }
    let types = [
        "text/plain",
        "application/json5",
        "application/jsonp",
        "application/vnd.api+json",
        "text/json",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "",
        "application",
        "json",
    ];
    for content_type in types {
        for (service, path, text) in [
            (Service::Config, "/organization", valid),
            (Service::Image, "/generate", r#"{"prompt":"a"}"#),
        ] {
            let request = with_body(by_root(lab, "POST", path), content_type, text);
            told(lab.ask(service, request).await, content_type)?.error(400, "VALIDATION_FAILED")?;
        }
    }
    let mut untyped = by_root(lab, "POST", "/organization");
    untyped.body = valid.into();
    lab.config(untyped).await?.error(400, "VALIDATION_FAILED")?;
    for (number, content_type) in [
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;x=y",
        "application/json ;a",
    ]
    .iter()
    .enumerate()
    {
        let text = valid.replace("of-bodies", &format!("of-bodies-{number}"));
        let request = with_body(by_root(lab, "POST", "/organization"), content_type, text);
        told(lab.config(request).await, content_type)?.status(201)?;
    }
    lab.rows("SELECT org_id, name, billing_email FROM organizations ORDER BY org_id")
        .await?;
    Ok(())
}

async fn ignored_bodies(lab: &mut Lab) -> Outcome {
    let user = reference_sequences::USER;
    let targets = [
        ("GET", "/me".to_owned()),
        ("PUT", format!("/instance/development/access/{user}")),
        ("DELETE", format!("/instance/development/access/{user}")),
        ("DELETE", "/project/playground".to_owned()),
    ];
    for (method, path) in targets {
        let request = with_body(by_root(lab, method, &path), "text/plain", "{ no JSON");
        lab.config(request).await?.status(200)?;
    }
    Ok(())
}

fn padded(length: usize, number: usize) -> String {
    let start = format!(r#"{{"org_id":"of-size-{number}","name":"Of size","billing_email":"bills@size.example""#);
    format!("{start}{}}}", " ".repeat(length - start.len() - 1))
}

async fn sizes(lab: &mut Lab) -> Outcome {
    for (number, length, status) in [(1, 65_535, 201), (2, 65_536, 201), (3, 65_537, 413), (4, 200_000, 413)] {
        let request = with_body(
            by_root(lab, "POST", "/organization"),
            "application/json",
            padded(length, number),
        );
        lab.config(request).await?.status(status)?;
        let start = r#"{"prompt":"a","instance_id":"nobody""#;
        let text = format!("{start}{}}}", " ".repeat(length - start.len() - 1));
        let request = with_body(by_root(lab, "POST", "/generate"), "application/json", text);
        lab.image(request)
            .await?
            .status(if status == 201 { 404 } else { 413 })?;
    }
    for (method, path) in [
        ("PATCH", "/instance/production"),
        ("PATCH", "/organization/example-org"),
        ("POST", "/instance"),
        ("POST", "/user"),
        ("POST", "/project"),
        ("PATCH", "/project/playground"),
        ("POST", "/project/playground/key"),
    ] {
        let request = with_body(by_root(lab, method, path), "application/json", vec![b' '; 65_537]);
        lab.config(request).await?.error(413, "PAYLOAD_TOO_LARGE")?;
    }
    Ok(())
}

/// A body in pieces, whose length nobody tells beforehand. Only the subject hears it: the reference has no transport.
async fn unannounced(lab: &mut Lab) -> Outcome {
    for (service, path) in [(Service::Config, "/organization"), (Service::Image, "/generate")] {
        let origin = lab.subject.origin(service);
        let Some(address) = origin.strip_prefix("http://").filter(|address| address.contains(':')) else {
            return Err(Failed::NotApplicable);
        };
        for (length, is_too_large) in [(65_536, false), (65_537, true)] {
            let status = chunked(address, path, &lab.keys.root, &vec![b' '; length]).await;
            let status =
                status.map_err(|error| Failed::Difference(format!("POST {path} in pieces got no answer: {error}")))?;
            lab.require(
                (status == 413) == is_too_large && (status == 400) != is_too_large,
                format!("POST {path}: {length} bytes in pieces are answered with {status}"),
            )?;
        }
    }
    Ok(())
}

async fn chunked(address: &str, path: &str, credential: &str, body: &[u8]) -> std::io::Result<u16> {
    let work = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {credential}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        for piece in body.chunks(16_384) {
            // Whoever has refused already need not read on.
            let sent = async {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(piece).await?;
                stream.write_all(b"\r\n").await
            };
            if sent.await.is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        let status = std::str::from_utf8(&answer[9..])
            .ok()
            .and_then(|text| text.parse().ok());
        status.ok_or_else(|| std::io::Error::other("its first line is no status"))
    };
    tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("it takes more than 10 s")))
}

async fn order(lab: &mut Lab) -> Outcome {
    let (root, user) = (lab.keys.root.clone(), lab.keys.user.clone());
    let admin = lab.keys.admin.clone();
    let large = |request: Request| with_body(request, "application/json", vec![b'x'; 65_537]);
    let wrong = |request: Request| request.json(&json!({ "nonsense": true }));
    let new = |method: &str, path: &str| Request::new(method, path);
    let other = lab.keys.other_admin.clone();
    let cases = [
        (large(new("POST", "/nothing")), 404),
        (large(new("PUT", "/me")), 405),
        (large(new("POST", "/organization")), 401),
        (large(new("POST", "/organization").bearer("mas_x")), 401),
        (large(new("POST", "/organization").bearer(&user)), 403),
        (wrong(new("PATCH", "/organization/nobody").bearer(&user)), 403),
        (large(new("PATCH", "/instance/nobody").bearer(&user)), 403),
        (large(new("PATCH", "/instance/nobody").bearer(&root)), 404),
        (large(new("PATCH", "/instance/production").bearer(&other)), 403),
        (wrong(new("PATCH", "/instance/production").bearer(&other)), 403),
        (wrong(new("PATCH", "/instance/nobody").bearer(&other)), 404),
        (large(new("PATCH", "/instance/production").bearer(&root)), 413),
        (wrong(new("POST", "/instance").bearer(&root)), 400),
        (
            new("POST", "/user")
                .bearer(&admin)
                .json(&json!({ "email": "x", "org_id": "other-org", "role": "superadmin" })),
            400,
        ),
        (
            new("POST", "/user")
                .bearer(&admin)
                .json(&json!({ "email": "a@b.example", "org_id": "nobody", "role": "superadmin" })),
            403,
        ),
        (
            new("POST", "/user")
                .bearer(&admin)
                .json(&json!({ "email": "a@b.example", "org_id": "nobody" })),
            404,
        ),
        (
            new("POST", "/user")
                .bearer(&admin)
                .json(&json!({ "email": "user@example.com", "org_id": "other-org" })),
            403,
        ),
        (
            new("POST", "/user")
                .bearer(&admin)
                .json(&json!({ "email": "user@example.com", "org_id": "example-org" })),
            409,
        ),
        (
            new("POST", "/instance")
                .bearer(&root)
                .json(&json!({ "org_id": "nobody", "name": "x", "instance_id": "production" })),
            404,
        ),
        (
            new("POST", "/instance")
                .bearer(&admin)
                .json(&json!({ "org_id": "other-org", "name": "x", "instance_id": "production" })),
            403,
        ),
        (
            new("POST", "/instance")
                .bearer(&root)
                .json(&json!({ "org_id": "other-org", "name": "x", "instance_id": "production" })),
            409,
        ),
        (new("PUT", "/instance/nobody/access/nobody").bearer(&root), 404),
        (new("PUT", "/instance/elsewhere/access/nobody").bearer(&admin), 403),
        (new("PUT", "/instance/production/access/nobody").bearer(&admin), 404),
        (new("GET", "/organization?limit=0").bearer(&user), 403),
        (new("GET", "/organization?limit=0"), 401),
        (new("GET", "/user?org_id=nobody&limit=0").bearer(&root), 400),
        (new("GET", "/user?org_id=other-org&limit=0").bearer(&admin), 400),
        (new("GET", "/user?org_id=other-org").bearer(&admin), 403),
        (new("GET", "/instance/nobody/access?limit=0").bearer(&root), 404),
        (new("GET", "/logs?instance_id=nobody&level=none").bearer(&root), 400),
        (
            new("GET", "/metrics?instance_id=elsewhere&range=year").bearer(&admin),
            400,
        ),
        (new("GET", "/metrics?instance_id=elsewhere").bearer(&admin), 403),
    ];
    for (request, status) in cases {
        let sent = String::from_utf8_lossy(&request.body).into_owned();
        let query = request.query.clone().unwrap_or_default();
        let answers = told(lab.config(request).await, &format!("{query} {sent}"))?;
        told(answers.status(status), &format!("{query} {sent}"))?;
    }
    Ok(())
}

async fn origins(lab: &mut Lab) -> Outcome {
    let origins = [
        ALLOWED_ORIGIN,
        "https://elsewhere.example",
        "https://gui.example.com.elsewhere.example",
        "https://notgui.example.com",
        "http://gui.example.com",
        "https://gui.example.com:8443",
        "https://example.com",
        "null",
        "*",
    ];
    for origin in origins {
        for service in [Service::Config, Service::Image] {
            let (private, posted) = match service {
                Service::Config => ("/me", "/instance"),
                Service::Image => ("/jobs/nobody", "/generate"),
            };
            let requests = [
                Request::new("GET", "/health"),
                Request::new("GET", private),
                Request::new("GET", "/nothing"),
                Request::new("PUT", private),
                Request::new("OPTIONS", private),
                Request::new("OPTIONS", private).header("access-control-request-method", "GET"),
                Request::new("OPTIONS", posted)
                    .header("access-control-request-method", "POST")
                    .header("access-control-request-headers", "authorization, content-type"),
                Request::new("OPTIONS", "/nothing").header("access-control-request-method", "DELETE"),
            ];
            for request in requests {
                told(lab.ask(service, request.header("origin", origin)).await, origin)?;
            }
        }
    }
    for service in [Service::Config, Service::Image] {
        let preflight = Request::new("OPTIONS", "/health").header("access-control-request-method", "GET");
        lab.ask(service, preflight).await?.status(204)?;
    }
    let allowed = by_root(lab, "GET", "/me").header("origin", ALLOWED_ORIGIN);
    lab.config(allowed).await?.status(200)?;
    Ok(())
}

async fn health(lab: &mut Lab) -> Outcome {
    for service in [Service::Config, Service::Image] {
        for request in [
            Request::new("GET", "/health"),
            Request::new("HEAD", "/health"),
            Request::new("GET", "/health").bearer("nonsense"),
            Request::new("GET", "/health?x=y"),
        ] {
            lab.ask(service, request).await?.status(200)?;
        }
    }
    Ok(())
}

async fn numbers(lab: &mut Lab) -> Outcome {
    for number in ["60", "60.0", "6e1", "6E+1", "600e-1"] {
        let text = format!(r#"{{"config":{{"rate_limits":{{"ideogram":{{"rpm":{number}}}}}}}}}"#);
        let request = with_body(by_root(lab, "PATCH", "/instance/production"), "application/json", text);
        told(lab.config(request).await, number)?.status(200)?;
    }
    for number in [
        "60.5", "\"60\"", "060", "+60", "6e-1", "0x3c", "1e400", "true", "null", "-60",
    ] {
        let text = format!(r#"{{"config":{{"rate_limits":{{"ideogram":{{"rpm":{number}}}}}}}}}"#);
        let request = with_body(by_root(lab, "PATCH", "/instance/production"), "application/json", text);
        told(lab.config(request).await, number)?.status(400)?;
    }
    let twice = r#"{"name":"First","name":"Second"}"#;
    let request = with_body(by_root(lab, "PATCH", "/project/playground"), "application/json", twice);
    lab.config(request).await?.status(200)?;
    for query in ["/organization?limit=1&limit=0", "/organization?limit=1&unknown=x"] {
        let request = by_root(lab, "GET", query);
        lab.config(request).await?.status(200)?;
    }
    let request = by_root(lab, "GET", "/organization?limit=0&limit=1");
    lab.config(request).await?.status(400)?;
    Ok(())
}
