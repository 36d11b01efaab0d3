//! One POST to a webhook, in the form that its chat understands. The address is a secret: no error and no log repeats it.

use std::time::Duration;

use serde_json::json;
use ureq::Agent;
use ureq::http::Uri;
use ureq::http::header::RETRY_AFTER;

use crate::plan::NoticeFormat;

use super::Message;

/// Discord refuses more characters than 2000.
const DISCORD_CHARACTERS_MAX: usize = 1_900;
/// A service that wants to be left alone for longer is given up.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What came of a try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    Arrived,
    /// Trying again may help, not before this long.
    Later {
        reason: String,
        after: Option<Duration>,
    },
    /// Trying again helps nobody.
    Refused {
        reason: String,
    },
}

/// The webhook's address; an error says what is wrong with it without repeating it.
pub(super) fn parse(address: &str) -> Result<Uri, String> {
    let uri: Uri = address
        .parse()
        .map_err(|error| format!("`notify.webhook` is no URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        (_, _) => Err("`notify.webhook` is no http or https URL".to_owned()),
    }
}

/// What the webhook understands: as the plan says, else as its address looks.
pub(super) fn format_of(chosen: NoticeFormat, url: &Uri) -> NoticeFormat {
    if chosen != NoticeFormat::Auto {
        return chosen;
    }
    let host = url.host().unwrap_or_default();
    let path = url.path();
    if (host == "discord.com" || host == "discordapp.com" || host.ends_with(".discord.com"))
        && path.starts_with("/api/")
    {
        NoticeFormat::Discord
    } else if host == "hooks.slack.com" || path.starts_with("/hooks/") {
        // Mattermost and Rocket.Chat speak Slack's form under /hooks/.
        NoticeFormat::Slack
    } else {
        NoticeFormat::Generic
    }
}

/// The body of the POST. Agents wrote part of the text, so that nothing in it may call people out.
pub(super) fn body(format: NoticeFormat, message: &Message) -> String {
    match format {
        NoticeFormat::Slack => {
            let text = message
                .text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            json!({ "text": text }).to_string()
        }
        NoticeFormat::Discord => {
            let text: String = message.text.chars().take(DISCORD_CHARACTERS_MAX).collect();
            json!({ "content": text, "allowed_mentions": { "parse": [] } }).to_string()
        }
        NoticeFormat::Auto | NoticeFormat::Generic => message.document.clone(),
    }
}

/// Posts once. A redirection is not followed: a webhook that moved is the plan's business, and its address a secret.
pub(super) fn post(url: &Uri, body: &str, limit: Duration) -> Tried {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("orchestrate/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let request = agent.post(url).header("content-type", "application/json");
    let response = match request.send(body) {
        Ok(response) => response,
        Err(error) => {
            // Other errors may repeat the address.
            let reason = match error {
                ureq::Error::Timeout(_) => "it gave no answer in time".to_owned(),
                ureq::Error::Io(error) => format!("it cannot be reached: {}", error.kind()),
                ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => "it cannot be reached".to_owned(),
                ureq::Error::Rustls(error) => format!("its certificate or its TLS is not accepted: {error}"),
                _ => "the request failed".to_owned(),
            };
            return Tried::Later { reason, after: None };
        }
    };
    let status = response.status();
    let reason = format!("it answered {}", status.as_u16());
    if status.is_success() {
        return Tried::Arrived;
    }
    if status.as_u16() != 429 && !status.is_server_error() {
        return Tried::Refused { reason };
    }
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    match after {
        Some(after) if after > RETRY_AFTER_MAX => Tried::Refused { reason },
        after => Tried::Later { reason, after },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message {
            text: text.to_owned(),
            document: "{\"schema\":1}".to_owned(),
            environment: Vec::new(),
        }
    }

    #[test]
    fn the_address_tells_the_format_unless_the_plan_does() {
        let auto = |address: &str| format_of(NoticeFormat::Auto, &parse(address).unwrap());
        assert_eq!(auto("https://hooks.slack.com/services/T/B/x"), NoticeFormat::Slack);
        assert_eq!(auto("https://chat.example.org/hooks/abc"), NoticeFormat::Slack);
        assert_eq!(auto("https://discord.com/api/webhooks/1/x"), NoticeFormat::Discord);
        assert_eq!(auto("https://ci.example.org/hook"), NoticeFormat::Generic);
        let url = parse("https://ci.example.org/hook").unwrap();
        assert_eq!(format_of(NoticeFormat::Discord, &url), NoticeFormat::Discord);
    }

    #[test]
    fn what_an_agent_writes_calls_nobody_out_and_fits() {
        assert_eq!(
            body(NoticeFormat::Slack, &message("<!channel> a & b")),
            r#"{"text":"&lt;!channel&gt; a &amp; b"}"#
        );
        let long = body(NoticeFormat::Discord, &message(&"@everyone ".repeat(1_000)));
        let document: serde_json::Value = serde_json::from_str(&long).unwrap();
        assert_eq!(
            document["content"].as_str().unwrap().chars().count(),
            DISCORD_CHARACTERS_MAX
        );
        assert_eq!(document["allowed_mentions"]["parse"], json!([]));
        assert_eq!(body(NoticeFormat::Generic, &message("x")), "{\"schema\":1}");
    }

    #[test]
    fn a_wrong_address_is_told_without_repeating_it() {
        for address in ["ftp://user:secret@example.org/", "secret-word", "file:///secret"] {
            let error = parse(address).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
