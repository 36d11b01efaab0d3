//! Bodies and query parameters, checked field by field. A validator says in a few words what a value must be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Number, Value};

use crate::http::{BODY_BYTES_MAX, Request};
use crate::id;
use crate::problem::{Code, Problem};
use crate::time;

/// The fields of a body.
#[derive(Clone, Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body: an object in JSON with none but these fields.
    pub fn read(request: &Request, known: &[&str]) -> Result<Self, Problem> {
        if request.body.len() > BODY_BYTES_MAX {
            return Err(Problem::new(Code::PayloadTooLarge, "the body is larger than 64 KiB"));
        }
        let media_type = request.headers.get("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Problem::invalid("the body must be application/json"));
        }
        let body = serde_json::from_slice(&request.body).map_err(|_| Problem::invalid("the body is not JSON"))?;
        let Value::Object(fields) = normal(body) else {
            return Err(Problem::invalid("the body must be an object"));
        };
        if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Problem::invalid(format!("there is no field `{unknown}`")));
        }
        Ok(Self(fields))
    }

    /// As `read`, but no body at all is an empty object.
    pub fn read_or_empty(request: &Request, known: &[&str]) -> Result<Self, Problem> {
        if request.body.is_empty() {
            Ok(Self(Map::new()))
        } else {
            Self::read(request, known)
        }
    }

    /// An object inside of a body, with none but these fields.
    pub fn of(value: &Value, name: &str, known: &[&str]) -> Result<Self, Problem> {
        let fields = value
            .as_object()
            .ok_or_else(|| Problem::invalid(format!("`{name}` must be an object")))?;
        match fields.keys().find(|field| !known.contains(&field.as_str())) {
            Some(unknown) => Err(Problem::invalid(format!("there is no field `{name}.{unknown}`"))),
            None => Ok(Self(fields.clone())),
        }
    }

    /// A field that may be missing; null is not missing.
    pub fn optional<T>(
        &self,
        name: &str,
        check: impl Fn(&Value) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => check(value)
                .map(Some)
                .map_err(|must| Problem::invalid(format!("`{name}` must be {must}"))),
        }
    }

    /// A field that must be there.
    pub fn required<T>(&self, name: &str, check: impl Fn(&Value) -> Result<T, &'static str>) -> Result<T, Problem> {
        self.optional(name, check)?
            .ok_or_else(|| Problem::invalid(format!("`{name}` is missing")))
    }

    /// The value of a field as it came.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// An edit that names nothing is none.
    pub fn not_empty(&self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Err(Problem::invalid("the body names nothing to change"))
        } else {
            Ok(())
        }
    }
}

/// Numbers are IEEE doubles, as in JavaScript: `500.0` is the integer 500.
fn normal(value: Value) -> Value {
    /// Beyond this, doubles do not hold every integer.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(double) if double.fract() == 0.0 && double.abs() <= EXACT_MAX =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "it is a whole number within 53 bits")]
                Value::from(double as i64)
            }
            Some(double) => Number::from_f64(double).map_or(Value::Null, Value::Number),
            None => Value::Null,
        },
        Value::Array(values) => Value::Array(values.into_iter().map(normal).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, normal(value))).collect()),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// The length that limits count: UTF-16 units.
#[must_use]
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// White space and line ends, as ECMAScript sees them.
fn is_white_space(character: char) -> bool {
    (character.is_whitespace() && character != '\u{85}') || character == '\u{feff}'
}

/// Without the white space around it.
#[must_use]
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(is_white_space)
}

/// A text of any kind.
pub fn text(value: &Value) -> Result<String, &'static str> {
    value.as_str().map(str::to_owned).ok_or("a string")
}

fn name_of(value: &Value, units_min: usize) -> Option<String> {
    let name = trimmed(value.as_str()?);
    ((units_min..=100).contains(&units(name)) && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

/// A name: 1 to 100 units after trimming, without control characters.
pub fn name(value: &Value) -> Result<String, &'static str> {
    name_of(value, 1).ok_or("a name of 1 to 100 characters")
}

/// The name of a key, which may be empty.
pub fn key_name(value: &Value) -> Result<String, &'static str> {
    name_of(value, 0).ok_or("a name of at most 100 characters")
}

/// An email address, in lower case.
pub fn email(value: &Value) -> Result<String, &'static str> {
    const MUST: &str = "an email address of at most 254 characters";
    let email = value.as_str().ok_or(MUST)?;
    let (local, domain) = email.split_once('@').ok_or(MUST)?;
    let has_dot = domain
        .char_indices()
        .any(|(index, character)| character == '.' && index > 0 && index + 1 < domain.len());
    let is_plain = !domain.contains('@')
        && !email
            .chars()
            .any(|character| is_white_space(character) || character.is_control());
    if units(email) <= 254 && !local.is_empty() && has_dot && is_plain {
        Ok(email.to_lowercase())
    } else {
        Err(MUST)
    }
}

/// An identifier of the contract's grammar.
pub fn identifier(value: &Value) -> Result<String, &'static str> {
    value
        .as_str()
        .filter(|text| id::is_identifier(text))
        .map(str::to_owned)
        .ok_or("an identifier")
}

/// A UUID, in lower case.
pub fn uuid(value: &Value) -> Result<String, &'static str> {
    value
        .as_str()
        .filter(|text| id::is_uuid(text))
        .map(str::to_ascii_lowercase)
        .ok_or("a UUID")
}

/// The instant of a time.
pub fn instant(value: &Value) -> Result<u64, &'static str> {
    value
        .as_str()
        .and_then(time::parse)
        .ok_or("a time such as 2026-01-31T09:30:00.000Z")
}

/// A list's page, as its query asks for it.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most so many items.
    pub limit: usize,
    /// Where the page before it ended: a time, and an identifier.
    pub after: Option<(String, String)>,
}

impl Page {
    /// Reads `limit` and `cursor`. A cursor belongs to the filters that it was made with.
    pub fn read(request: &Request, filters: &str) -> Result<Self, Problem> {
        let limit = match request.parameter("limit") {
            None => 50,
            Some(text) => {
                let digits = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
                let limit = if digits { text.parse().unwrap_or(0) } else { 0 };
                if !(1..=100).contains(&limit) {
                    return Err(Problem::invalid("`limit` must be a number from 1 to 100"));
                }
                limit
            }
        };
        let after = match request.parameter("cursor") {
            None => None,
            Some(cursor) => {
                Some(open_cursor(&cursor, filters).ok_or_else(|| Problem::invalid("`cursor` is not from this list"))?)
            }
        };
        Ok(Self { limit, after })
    }
}

/// The cursor behind an item.
#[must_use]
pub fn cursor(time: &str, identifier: &str, filters: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(
        "{time}\n{identifier}\n{:08x}",
        crc32fast::hash(filters.as_bytes())
    ))
}

fn open_cursor(cursor: &str, filters: &str) -> Option<(String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.split('\n');
    let (time, identifier, mark) = (parts.next()?, parts.next()?, parts.next()?);
    time::parse(time)?;
    let own = format!("{:08x}", crc32fast::hash(filters.as_bytes()));
    (parts.next().is_none() && mark == own && id::is_identifier(identifier))
        .then(|| (time.to_owned(), identifier.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn names_are_trimmed_and_counted_in_utf_16_units() {
        assert_eq!(name(&json!(" \u{feff}\u{a0}a b\n")), Ok("a b".to_owned()));
        assert!(name(&json!("x".repeat(100))).is_ok() && name(&json!("x".repeat(101))).is_err());
        assert!(name(&json!("😀".repeat(50))).is_ok() && name(&json!("😀".repeat(51))).is_err());
        for bad in [
            json!(""),
            json!("  "),
            json!("a\u{0}b"),
            json!("a\nb"),
            json!("a\u{85}"),
            json!("a\u{7f}"),
            json!(1),
            json!(null),
        ] {
            assert!(name(&bad).is_err(), "{bad}");
        }
        assert_eq!(key_name(&json!("  ")), Ok(String::new()));
    }

    #[test]
    fn emails_have_one_at_and_a_dot_behind_it() {
        assert_eq!(email(&json!("Ada@Example.COM")), Ok("ada@example.com".to_owned()));
        for bad in [
            "a",
            "a@b",
            "@b.c",
            "a@.c",
            "a@b.",
            "a@b@c.d",
            "a b@c.d",
            "a@b .c",
            " a@b.c",
            "a@b.c ",
            "a\t@b.c",
            "a.b@c",
            "ada@localhost",
            // White space as ECMAScript has it.
            "\u{feff}a@b.c",
            "a@b\u{feff}.c",
            "a@b.c\u{2029}",
            "a\u{85}@b.c",
        ] {
            assert!(email(&json!(bad)).is_err(), "{bad}");
        }
        let long = format!("{}@b.cd", "a".repeat(250));
        assert!(email(&json!(&long[1..])).is_ok() && email(&json!(long)).is_err());
    }

    #[test]
    fn a_number_with_a_fraction_that_a_double_holds_is_no_integer() {
        for (text, expected) in [
            ("1000000.0000000001", None),
            ("999999.9999999999", None),
            ("0.9999999999999999", None),
            ("60.0", Some(60)),
            ("6e1", Some(60)),
            ("600e-1", Some(60)),
        ] {
            let mut request = Request::new("POST", "/").header("content-type", "application/json");
            request.body = format!(r#"{{"number":{text}}}"#).into_bytes();
            let number = Fields::read(&request, &["number"])
                .ok()
                .and_then(|fields| fields.raw("number")?.as_i64());
            assert_eq!(number, expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_doubles() {
        assert_eq!(normal(json!([500.0, -0.0, 1.5, 1e3])), json!([500, 0, 1.5, 1000]));
        assert_eq!(
            normal(json!(9_007_199_254_740_993_i64)),
            json!(9_007_199_254_740_992_i64)
        );
    }

    fn page(query: &str) -> Result<Page, Problem> {
        Page::read(&Request::new("GET", &format!("/list?{query}")), "filters")
    }

    #[test]
    fn limits_are_from_1_to_100() {
        assert_eq!(page("").map(|page| page.limit).ok(), Some(50));
        assert_eq!(page("limit=1").map(|page| page.limit).ok(), Some(1));
        assert_eq!(page("limit=100").map(|page| page.limit).ok(), Some(100));
        for bad in [
            "limit=0",
            "limit=101",
            "limit=",
            "limit=-1",
            "limit=1.5",
            "limit=1e1",
            "limit=%201",
            "limit=abc",
            "limit=4294967297",
        ] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_goes_with_its_filters() {
        let own = cursor("2026-01-01T00:00:00.000Z", "a-1", "filters");
        let after = page(&format!("cursor={own}")).ok().and_then(|page| page.after);
        assert_eq!(after, Some(("2026-01-01T00:00:00.000Z".to_owned(), "a-1".to_owned())));
        let other = cursor("2026-01-01T00:00:00.000Z", "a-1", "others");
        let no_time = cursor("yesterday", "a-1", "filters");
        for bad in [other.as_str(), no_time.as_str(), "", "!", "AAAA"] {
            assert!(page(&format!("cursor={bad}")).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_body_never_fails_otherwise_than_with_a_problem(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut request = Request::new("POST", "/").header("content-type", "application/json");
            request.body = body;
            if let Err(problem) = Fields::read(&request, &[]) {
                prop_assert_eq!(problem.code.status(), 400);
            }
        }
    }
}
