//! Custom fields of a message: the workspace says in a JSON Schema which there are.
//!
//! What is understood of the schema is what such fields need: `properties`, `required`, and for each
//! property `type`, `nullable`, `enum`, `minLength`, `maxLength`, `pattern`, `minimum`, `maximum`.

use regex::Regex;
use serde_json::{Map, Value};

use crate::error::CommandError;
use crate::model::WriteModel;

pub fn check(model: &WriteModel, fields: &Map<String, Value>) -> Result<(), CommandError> {
    if !model.flag("Message_CustomFields_Enabled") {
        return Err(CommandError::plain("Custom fields not enabled"));
    }
    let schema: Value = serde_json::from_str(&model.text("Message_CustomFields"))
        .map_err(|_| CommandError::plain("Invalid custom fields config"))?;
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(CommandError::plain("Invalid custom fields config"));
    }
    if fits(&schema, fields) {
        return Ok(());
    }
    Err(CommandError::plain("Invalid custom fields"))
}

fn fits(schema: &Value, fields: &Map<String, Value>) -> bool {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required = schema["required"].as_array().into_iter().flatten();
    required
        .filter_map(Value::as_str)
        .all(|name| fields.contains_key(name))
        && fields.iter().all(|(name, value)| {
            properties
                .get(name)
                .is_some_and(|property| holds(property, value))
        })
}

fn holds(property: &Value, value: &Value) -> bool {
    if value.is_null() && property["nullable"] == true {
        return true;
    }
    let typed = match property["type"].as_str() {
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => true,
    };
    let length = value.as_str().map(|text| text.chars().count() as u64);
    let number = value.as_f64();
    let bound = |name: &str| property[name].as_f64();
    typed
        && property["enum"]
            .as_array()
            .is_none_or(|allowed| allowed.contains(value))
        && length
            .zip(property["minLength"].as_u64())
            .is_none_or(|(length, least)| length >= least)
        && length
            .zip(property["maxLength"].as_u64())
            .is_none_or(|(length, most)| length <= most)
        && number
            .zip(bound("minimum"))
            .is_none_or(|(number, least)| number >= least)
        && number
            .zip(bound("maximum"))
            .is_none_or(|(number, most)| number <= most)
        && value
            .as_str()
            .zip(property["pattern"].as_str())
            .is_none_or(|(text, pattern)| Regex::new(pattern).is_ok_and(|it| it.is_match(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_those_of_the_schema() {
        let schema = json!({
            "properties": { "priority": { "type": "string", "nullable": false, "enum": ["low", "high"] } },
            "required": ["priority"],
        });
        let fits = |fields: Value| fits(&schema, fields.as_object().unwrap());
        assert!(fits(json!({ "priority": "low" })));
        assert!(!fits(json!({ "priority": "other" })));
        assert!(!fits(json!({ "priority": null })));
        assert!(!fits(json!({})));
        assert!(!fits(json!({ "priority": "low", "more": 1 })));
    }
}
