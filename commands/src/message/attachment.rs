//! What may stand in an attachment: fields of the right type, and no link that runs code.

use serde_json::{Map, Value};

use crate::error::CommandError;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Boolean,
    TextOrNumber,
    Scalar,
    Object,
    List,
    /// A link with a scheme, or a path to a file of ours.
    Link,
}

const ATTACHMENT: &[(&str, Kind)] = &[
    ("color", Kind::Text),
    ("text", Kind::Text),
    ("ts", Kind::TextOrNumber),
    ("thumb_url", Kind::Link),
    ("button_alignment", Kind::Text),
    ("actions", Kind::List),
    ("message_link", Kind::Link),
    ("collapsed", Kind::Boolean),
    ("author_name", Kind::Text),
    ("author_link", Kind::Link),
    ("author_icon", Kind::Link),
    ("title", Kind::Text),
    ("title_link", Kind::Link),
    ("title_link_download", Kind::Boolean),
    ("image_dimensions", Kind::Object),
    ("image_url", Kind::Link),
    ("image_preview", Kind::Text),
    ("image_type", Kind::Text),
    ("image_size", Kind::Number),
    ("audio_url", Kind::Link),
    ("audio_type", Kind::Text),
    ("audio_size", Kind::Number),
    ("video_url", Kind::Link),
    ("video_type", Kind::Text),
    ("video_size", Kind::Number),
    ("fields", Kind::List),
];

const FIELD: &[(&str, Kind)] = &[
    ("short", Kind::Boolean),
    ("title", Kind::Text),
    ("value", Kind::Scalar),
];

const ACTION: &[(&str, Kind)] = &[
    ("type", Kind::Text),
    ("text", Kind::Text),
    ("url", Kind::Link),
    ("image_url", Kind::Link),
    ("is_webview", Kind::Boolean),
    ("webview_height_ratio", Kind::Text),
    ("msg", Kind::Text),
    ("msg_in_chat_window", Kind::Boolean),
];

/// Where uploads are served; a link may begin with it.
const FILES: &str = "/file-upload/";

/// Refuses attachments with a field of the wrong type; writes values of fields as text.
pub fn check(attachments: &mut [Value]) -> Result<(), CommandError> {
    for attachment in attachments {
        let attachment = object(attachment)?;
        check_fields(attachment, ATTACHMENT)?;
        if let Some(Value::Array(fields)) = attachment.get_mut("fields") {
            for field in fields {
                let field = object(field)?;
                check_fields(field, FIELD)?;
                if let Some(value) = field.get_mut("value")
                    && !value.is_string()
                    && !value.is_null()
                {
                    *value = Value::String(value.to_string());
                }
            }
        }
        if let Some(Value::Array(actions)) = attachment.get_mut("actions") {
            for action in actions {
                check_fields(object(action)?, ACTION)?;
            }
        }
    }
    Ok(())
}

/// Refuses the address of an avatar that is neither a link nor a path.
pub fn check_avatar(avatar: &str) -> Result<(), CommandError> {
    if avatar.starts_with('/') || is_link(avatar) {
        return Ok(());
    }
    Err(mismatch("a link", "avatar"))
}

fn object(value: &mut Value) -> Result<&mut Map<String, Value>, CommandError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(CommandError::plain("Match error: Expected plain object")),
    }
}

fn check_fields(object: &Map<String, Value>, known: &[(&str, Kind)]) -> Result<(), CommandError> {
    for (name, kind) in known {
        let value = object.get(*name).unwrap_or(&Value::Null);
        if value.is_null() {
            continue;
        }
        let (fits, expected) = match kind {
            Kind::Text => (value.is_string(), "string"),
            Kind::Number => (value.is_number(), "number"),
            Kind::Boolean => (value.is_boolean(), "boolean"),
            Kind::TextOrNumber => (value.is_string() || value.is_number(), "string or number"),
            Kind::Scalar => (
                value.is_string() || value.is_number() || value.is_boolean(),
                "string, number or boolean",
            ),
            Kind::Object => (value.is_object(), "object"),
            Kind::List => (value.is_array(), "array"),
            Kind::Link => (value.as_str().is_some_and(is_link), "a link"),
        };
        if !fits {
            return Err(mismatch(expected, name));
        }
    }
    Ok(())
}

fn mismatch(expected: &str, field: &str) -> CommandError {
    CommandError::plain(format!("Match error: Expected {expected} in field {field}"))
}

/// `scheme://…` with a host behind it, but for schemes that run code; or a file of ours.
fn is_link(text: &str) -> bool {
    if text.starts_with(FILES) {
        return true;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let named = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    let runs = ["javascript", "vbscript", "data"].contains(&scheme.to_ascii_lowercase().as_str());
    named && !runs && !rest.is_empty() && !rest.starts_with(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attachment_has_fields_of_the_right_type() {
        let good = json!({
            "color": "#ff0000", "text": "Yay!", "ts": "2016-12-09T16:53:06.761Z", "collapsed": false,
            "title_link": "https://youtube.com", "fields": [{ "short": true, "title": "T", "value": 12 }],
        });
        let mut attachments = [good];
        assert!(check(&mut attachments).is_ok());
        assert_eq!(attachments[0]["fields"][0]["value"], "12");
        for bad in [
            json!({ "title": 12 }),
            json!({ "collapsed": "no" }),
            json!({ "title_link": "javascript://alert" }),
            json!({ "image_url": "12321" }),
            json!({ "fields": [{ "title": 1 }] }),
            json!({ "actions": [{ "msg_in_chat_window": "yes" }] }),
            json!("text"),
        ] {
            assert!(check(&mut [bad.clone()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_avatar_is_a_link_or_a_path() {
        assert!(check_avatar("/logo.png").is_ok());
        assert!(check_avatar("http://res.guggy.com/logo.png").is_ok());
        assert!(check_avatar("javascript:alert('xss')").is_err());
        assert!(check_avatar("undefined").is_err());
    }
}
