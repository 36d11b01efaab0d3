//! Lists: their bounds, their order, and their pages.

use std::fmt::Write as _;

use reference_core::http::Request;
use reference_native::Service;

use super::super::ask::{by_root, encoded, told, walk};
use crate::verify::check::{Check, Section};
use crate::verify::lab::{Lab, Outcome};

/// Every list but the log, which has its own order.
const LISTS: [&str; 8] = [
    "/organization",
    "/instance",
    "/instance?org_id=example-org",
    "/user",
    "/project",
    "/project?instance_id=production",
    "/instance/production/access",
    "/project/content-forge/key",
];

pub(super) fn checks() -> Vec<Check> {
    let contract = Section::Contract;
    vec![
        Check::new(contract, "limit-and-cursor", &["LIST-03", "API-09"], bounds),
        Check::new(contract, "order-and-pages", &["LIST-01"], pages),
        Check::new(contract, "default-page", &["LIST-03", "LIST-01"], default_page),
        Check::new(contract, "pages-while-items-come-and-go", &["LIST-01"], while_changing),
    ]
}

async fn bounds(lab: &mut Lab) -> Outcome {
    let user_keys = format!("/user/{}/key", reference_sequences::USER);
    for list in LISTS
        .into_iter()
        .chain(["/logs?instance_id=production", user_keys.as_str()])
    {
        let joint = if list.contains('?') { '&' } else { '?' };
        for (query, status) in [
            ("limit=1", 200),
            ("limit=100", 200),
            ("limit=0", 400),
            ("limit=101", 400),
            ("limit=", 400),
            ("cursor=", 400),
            ("cursor=nonsense", 400),
        ] {
            let request = by_root(lab, "GET", &format!("{list}{joint}{query}"));
            told(told(lab.config(request).await, query)?.status(status), query)?;
        }
    }
    for limit in [
        "-1", "1.5", "1.0", "abc", "1e1", "+1", "%201", "1%20", "0x10", "00", "0001", "1000", "null", "NaN",
    ] {
        let request = by_root(lab, "GET", &format!("/user?limit={limit}"));
        told(told(lab.config(request).await, limit)?.status(400), limit)?;
    }
    for limit in ["01", "001", "010", "099"] {
        let request = by_root(lab, "GET", &format!("/user?limit={limit}"));
        told(told(lab.config(request).await, limit)?.status(200), limit)?;
    }
    for cursor in [
        "%00",
        "e30",
        "bnVsbA",
        "W10",
        "..",
        "%F0%9F%98%80",
        "eyJhIjoxfQ==",
        "IiI",
    ] {
        let request = by_root(lab, "GET", &format!("/user?cursor={cursor}"));
        told(told(lab.config(request).await, cursor)?.status(400), cursor)?;
    }
    Ok(())
}

/// Many of each kind; some were made at the same moment, and their order of making is not that of their identifiers.
async fn many(lab: &mut Lab, count: usize) -> Outcome {
    let mut script = String::new();
    for number in 0..count {
        // Three at each moment, and later ones with lesser identifiers.
        let (letter, minute) = (char::from(b'z' - (number % 26) as u8), number / 3 % 60);
        let id = format!("{letter}-{number}");
        let at = format!("2026-01-03T00:{minute:02}:00.000Z");
        let user = format!("00000000-0000-4000-9000-{:012}", 999_999 - number);
        // Writing to a string does not fail.
        let _ = write!(
            script,
            "INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES ('{id}', 'Of many', 'a@b.example', '{at}', '{at}');
INSERT INTO instances (instance_id, org_id, name, config, created_at, updated_at) VALUES ('{id}', 'example-org', 'Of many', '{{\"api_keys\":{{}},\"rate_limits\":{{}},\"worker_urls\":{{}},\"r2_bucket\":null}}', '{at}', '{at}');
INSERT INTO users (user_id, email, role, org_id, created_at, updated_at) VALUES ('{user}', '{id}@many.example', 'user', 'example-org', '{at}', '{at}');
INSERT INTO user_instance_access (user_id, instance_id, created_at) VALUES ('{user}', 'production', '{at}');
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('{id}', 'production', 'Of many {number}', '{at}', '{at}');
INSERT INTO api_keys (key_id, project_id, key_hash, key_prefix, created_at) VALUES ('{user}', 'content-forge', '{number:064}', 'mas_0000', '{at}');
"
        );
    }
    lab.write(&script).await
}

async fn pages(lab: &mut Lab) -> Outcome {
    many(lab, 7).await?;
    let root = lab.keys.root.clone();
    for list in LISTS {
        let joint = if list.contains('?') { '&' } else { '?' };
        for limit in [1, 2, 3, 100] {
            walk(lab, &format!("{list}{joint}limit={limit}"), &root).await?;
        }
    }
    // A last page that is full has no further one.
    let request = by_root(lab, "GET", "/organization?limit=9");
    let answers = lab.config(request).await?.status(200)?;
    lab.require(
        answers.subject.json()["next_cursor"].is_null(),
        "GET /organization?limit=9: the last page is full, and names another one",
    )?;
    Ok(())
}

async fn default_page(lab: &mut Lab) -> Outcome {
    let mut script = String::new();
    for number in 0..60 {
        // All of one moment, and every second one's identifier begins with the one in front of it.
        let more = if number % 2 == 0 { "" } else { "-more" };
        let _ = writeln!(
            script,
            "INSERT INTO organizations (org_id, name, billing_email, created_at, updated_at) VALUES ('many-{half:02}{more}', 'Of many', 'a@b.example', '2026-01-03T00:00:00.000Z', '2026-01-03T00:00:00.000Z');",
            half = number / 2,
        );
    }
    lab.write(&script).await?;
    let root = lab.keys.root.clone();
    walk(lab, "/organization?limit=3", &root).await?;
    let count = walk(lab, "/organization", &root).await?;
    lab.require(count == 2, format!("62 organisations come on {count} pages"))
}

async fn while_changing(lab: &mut Lab) -> Outcome {
    many(lab, 6).await?;
    let root = lab.keys.root.clone();
    let first = by_root(lab, "GET", "/project?limit=3&instance_id=production");
    let first = lab.config(first).await?.status(200)?;
    let cursor = first.text("/next_cursor")?;
    // What the cursor stands on goes, something comes before it, and something behind it.
    lab.write(
        "DELETE FROM projects WHERE project_id IN (SELECT project_id FROM projects WHERE instance_id = 'production' ORDER BY created_at, project_id LIMIT 1 OFFSET 2);
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('before', 'production', 'Before', '2025-01-01T00:00:00.000Z', '2025-01-01T00:00:00.000Z');
INSERT INTO projects (project_id, instance_id, name, created_at, updated_at) VALUES ('behind', 'production', 'Behind', '2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z');
",
    )
    .await?;
    let next = |side| {
        let cursor = encoded(cursor.on(side));
        Request::new(
            "GET",
            &format!("/project?limit=100&instance_id=production&cursor={cursor}"),
        )
        .bearer(&root)
    };
    lab.ask_each(Service::Config, next).await?.status(200)?;
    Ok(())
}
