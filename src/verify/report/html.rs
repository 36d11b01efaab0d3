//! The report as one page without any network: requirements beside implementations, and for each failure everything that was seen.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::check::{Checked, Verdict};
use super::super::examine::{Examined, Finding};
use super::super::lab::Exchange;
use super::super::requirements::{self, GROUPS, Requirement};
use super::picture::{answers, escaped, lanes};
use super::{Counts, Report, Status, curl, requirements_of};
use crate::report::text::plural;

/// How the page looks, in the light and in the dark, on paper and on a telephone.
const STYLE: &str = include_str!("page.css");

/// Nothing on the page may load or run anything, whatever an answer smuggles in.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Requests before the one that differs are counted beyond this.
const BEFORE_MAX: usize = 60;

/// How the difference of stored rows begins.
const STORED: &str = "stored: ";

/// The page.
pub fn html(report: &Report) -> String {
    let subject = &report.subject;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>verify: {} {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the content</a>\n",
        escaped(subject.name),
        words(report)
    );
    header(&mut page, report);
    page.push_str("<main id=\"main\">\n");
    findings(&mut page, &subject.findings);
    remarkable(&mut page, subject);
    matrix(&mut page, report);
    time(&mut page, subject);
    let _ = write!(
        page,
        "</main>\n<footer><p>The same again: <code>{}</code></p><p>orchestrate {}, seed {}. Ids, times and the order of what has no order are not compared, and neither is wording.</p></footer>\n</body>\n</html>\n",
        escaped(&report.command),
        env!("CARGO_PKG_VERSION"),
        report.seed
    );
    page
}

fn words(report: &Report) -> &'static str {
    match report.result() {
        "pass" => "conforms",
        "fail" => "does not conform",
        "interrupted" => "was interrupted",
        _ => "could not be examined",
    }
}

fn header(page: &mut String, report: &Report) {
    let class = match report.result() {
        "pass" => "pass",
        "interrupted" => "unspecified",
        _ => "fail",
    };
    let subject = &report.subject;
    let seconds = Duration::from_millis(report.duration_ms).as_secs_f64();
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<header><h1>The {} system <span class=\"{class}\">{}</span></h1><p class=\"soft\">{} against the reference, in {seconds:.1} s.{}</p><ul class=\"tiles\" aria-label=\"Requirements\">",
        escaped(subject.name),
        words(report),
        plural(subject.ran(), "check"),
        match report.missing {
            Some(missing) => format!(" {} is not there yet, and what needs it was not run.", escaped(missing)),
            None => String::new(),
        }
    );
    let counts = subject.counts();
    for status in Counts::ORDER {
        let count = counts.of(status);
        let class = if count == 0 { "not-checked" } else { class_of(status) };
        let _ = write!(page, "<li class=\"{class}\"><b>{count}</b>{}</li>", status.word());
    }
    page.push_str("</ul></header>\n");
}

fn class_of(status: Status) -> &'static str {
    match status {
        Status::NotChecked => "not-checked",
        other => other.word(),
    }
}

fn findings(page: &mut String, findings: &[Finding]) {
    for finding in findings {
        let _ = writeln!(
            page,
            "<h2>It cannot be examined</h2><details class=\"card fail\" open><summary>{}</summary><div><pre tabindex=\"0\">{}</pre><p>Next: <code>{}</code></p></div></details>",
            escaped(&finding.what),
            escaped(&finding.detail.join("\n")),
            escaped(&finding.hint)
        );
    }
}

fn remarkable(page: &mut String, subject: &Examined) {
    // The first card shows what is inside of each.
    let mut is_first = true;
    for (title, class) in [
        ("What does not hold", "fail"),
        ("What could not be judged", "error"),
        ("What is done in a declared other way", "alternative"),
        ("What differs where nothing binds", "unspecified"),
    ] {
        let mut cards = String::new();
        for (index, checked) in subject.checked.iter().enumerate() {
            if checked.verdict.name() == class {
                card(&mut cards, checked, index, class, subject.name, is_first);
                is_first = false;
            }
        }
        if !cards.is_empty() {
            let _ = write!(page, "<h2>{title}</h2>\n{cards}");
        }
    }
}

fn card(page: &mut String, checked: &Checked, index: usize, class: &str, subject_name: &str, is_open: bool) {
    let what = checked.verdict.what().unwrap_or_default();
    let bound = requirements_of(checked);
    let title: Vec<String> = bound
        .iter()
        .map(|requirement| {
            format!(
                "<span class=\"tag\">{} {}</span> {}",
                requirement.id,
                requirement.level.word(),
                escaped(&requirement.sentence)
            )
        })
        .collect();
    let _ = write!(
        page,
        "<details class=\"card {class}\" id=\"check-{index}\"{}><summary>{}<span class=\"what {class}\">{}</span></summary><div><dl>",
        if is_open { " open" } else { "" },
        title.join("<br>"),
        escaped(what)
    );
    for requirement in &bound {
        source(page, requirement);
    }
    let _ = write!(
        page,
        "<dt>check</dt><dd><code>orchestrate verify --only {}/{}</code></dd>",
        checked.section.name(),
        escaped(&checked.name)
    );
    if let Verdict::Alternative { decision, .. } = &checked.verdict
        && let Some(decision) = requirements::decision(decision)
    {
        let _ = write!(
            page,
            "<dt>accepted by</dt><dd>{}: {}</dd>",
            decision.id,
            escaped(decision.reading)
        );
    }
    page.push_str("</dl>");
    if let Some((sql, difference)) = what.strip_prefix(STORED).and_then(|stored| stored.split_once(": ")) {
        let _ = write!(
            page,
            "<h4>Stored state</h4><pre tabindex=\"0\">{}\n<mark>{}</mark></pre>",
            escaped(sql),
            escaped(difference)
        );
    }
    if !checked.lanes.is_empty() {
        page.push_str(&lanes(&checked.lanes));
    }
    if let Some((last, before)) = checked.exchanges.split_last() {
        exchange(page, last, subject_name);
        earlier(page, before);
    }
    page.push_str("</div></details>\n");
}

fn source(page: &mut String, requirement: &Requirement) {
    let mut parts = Vec::new();
    let seed = requirement.seed_lines();
    if !seed.is_empty() {
        parts.push(format!("seed, lines {seed}"));
    }
    if !requirement.contract.is_empty() {
        parts.push(format!("contract {}", requirement.contract.join(", ")));
    }
    for id in requirement.decisions.iter().chain(&requirement.alternatives) {
        if let Some(decision) = requirements::decision(id) {
            parts.push(format!("{id}: {}", decision.reading));
        }
    }
    let _ = write!(
        page,
        "<dt>{}</dt><dd>{} <span class=\"soft\">({}:{})</span></dd>",
        requirement.id,
        escaped(&parts.join("; ")),
        requirements::FILE,
        requirement.line
    );
}

fn exchange(page: &mut String, exchange: &Exchange, subject_name: &str) {
    let _ = write!(
        page,
        "<h4>The request</h4><pre tabindex=\"0\">{}</pre><h4>The two answers</h4>{}",
        escaped(&curl(exchange.service, &exchange.request)),
        answers(&exchange.reference, exchange.subject.as_ref(), subject_name)
    );
}

fn earlier(page: &mut String, before: &[Exchange]) {
    if before.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "<details class=\"before\"><summary>{} before it</summary><ol>",
        plural(before.len(), "request")
    );
    for exchange in before.iter().take(BEFORE_MAX) {
        let status = exchange.subject.as_ref().map(|subject| subject.status);
        let _ = write!(
            page,
            "<li><code>{}</code> <span class=\"soft\">reference {}, subject {}</span></li>",
            escaped(&curl(exchange.service, &exchange.request)),
            exchange.reference.status,
            status.map_or("no answer".to_owned(), |status| status.to_string())
        );
    }
    page.push_str("</ol></details>");
}

fn matrix(page: &mut String, report: &Report) {
    page.push_str("<h2 id=\"requirements\">Requirements</h2>\n<label class=\"filter\"><input type=\"checkbox\" id=\"only\"> only those that do not simply pass</label>\n<table><thead><tr><th scope=\"col\">requirement</th>");
    let columns: Vec<&Examined> = std::iter::once(&report.subject).chain(&report.others).collect();
    for examined in &columns {
        let _ = write!(page, "<th scope=\"col\" class=\"cell\">{}</th>", escaped(examined.name));
    }
    page.push_str("</tr></thead>\n");
    for (group, about) in GROUPS {
        let _ = writeln!(
            page,
            "<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{group} <span class=\"soft\">{about}</span></th></tr>",
            columns.len() + 1
        );
        for requirement in requirements::all() {
            if requirement.group() == group {
                row(page, requirement, &columns);
            }
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table>\n");
}

fn row(page: &mut String, requirement: &Requirement, columns: &[&Examined]) {
    let is_fine = columns
        .iter()
        .all(|examined| matches!(examined.status(requirement), Status::Pass | Status::NotChecked));
    let _ = write!(
        page,
        "<tr{}><th scope=\"row\"><span class=\"tag\">{} {}</span> {}</th>",
        if is_fine { " class=\"fine\"" } else { "" },
        requirement.id,
        requirement.level.word(),
        escaped(&requirement.sentence)
    );
    for (column, examined) in columns.iter().enumerate() {
        let status = examined.status(requirement);
        let content = format!(
            "<span aria-hidden=\"true\">{}</span> <span class=\"word\">{}</span>",
            status.glyph(),
            status.word()
        );
        // Only the subject's checks have a card to go to.
        let is_remarkable = |checked: &&Checked| checked.verdict.what().is_some();
        let seen = examined
            .checked
            .iter()
            .position(|checked| checked.requirements.contains(&requirement.id.as_str()) && is_remarkable(&checked));
        let content = match seen {
            Some(index) if column == 0 => format!("<a href=\"#check-{index}\">{content}</a>"),
            _ => content,
        };
        let _ = write!(page, "<td class=\"cell {}\">{content}</td>", class_of(status));
    }
    page.push_str("</tr>\n");
}

fn time(page: &mut String, subject: &Examined) {
    let times = subject.time();
    let longest_ms = times
        .iter()
        .map(|(_, _, duration_ms)| *duration_ms)
        .max()
        .unwrap_or(0)
        .max(1);
    if times.is_empty() {
        return;
    }
    page.push_str("<h2>Where the time went</h2>\n<table class=\"time\"><thead><tr><th scope=\"col\">section</th><th scope=\"col\" class=\"number\">checks</th><th scope=\"col\" class=\"number\">seconds</th><th scope=\"col\"></th></tr></thead><tbody>");
    for (section, count, duration_ms) in times {
        let _ = write!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{count}</td><td class=\"number\">{:.1}</td><td><span class=\"bar\" style=\"width:{:.1}%\"></span></td></tr>",
            section.name(),
            Duration::from_millis(duration_ms).as_secs_f64(),
            duration_ms as f64 * 100.0 / longest_ms as f64
        );
    }
    page.push_str("</tbody></table>\n");
}
