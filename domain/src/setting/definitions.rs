//! Which settings there are: their ids, kinds, defaults and who may read them.
//!
//! Ids, groups, sections, options and defaults are those of Rocket.Chat 6.12, so that its clients
//! find what they look for. Its defaults do not hold for texts that people read, the name of the
//! workspace, the setup wizard (there is none: it is completed), and the place where files are kept.
//! Settings of features that Hansard does not have are here where clients read them at login.
//!
//! One file a theme. What values the settings have now is not here.

mod accounts;
mod file;
mod general;
mod hansard;
mod layout;
mod logs;
mod message;
mod notification;
mod omnichannel;
mod preferences;
mod rate_limiter;
mod retention;
mod sign_in;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::message::HIDEABLE_MESSAGES;
use crate::free;
use crate::limit::{self, Limit, OutOfBounds};

static THEMES: [&[Definition]; 13] = [
    accounts::DEFINITIONS,
    preferences::DEFINITIONS,
    sign_in::DEFINITIONS,
    general::DEFINITIONS,
    rate_limiter::DEFINITIONS,
    message::DEFINITIONS,
    file::DEFINITIONS,
    retention::DEFINITIONS,
    hansard::DEFINITIONS,
    layout::DEFINITIONS,
    notification::DEFINITIONS,
    logs::DEFINITIONS,
    omnichannel::DEFINITIONS,
];

static BY_ID: LazyLock<HashMap<&'static str, &'static Definition>> = LazyLock::new(|| {
    all()
        .map(|definition| (definition.id, definition))
        .collect()
});

/// Every definition, theme by theme, in the order an administrator reads them.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    THEMES.iter().copied().flatten()
}

/// The definition of the setting with this id.
pub fn definition(id: &str) -> Option<&'static Definition> {
    BY_ID.get(id).copied()
}

/// What a setting is before anybody changes it, and what it can be changed to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    pub id: &'static str,
    pub group: &'static str,
    pub section: Option<&'static str>,
    pub kind: Kind,
    pub default: DefaultValue,
    /// Read by clients without permission, even before a login.
    pub public: bool,
    /// Not listed, and not to be changed through the API.
    pub hidden: bool,
    /// Sensitive: its value is never repeated in a log line, an error or the audit.
    pub secret: bool,
    /// An `Int` that takes parts of a whole, too: a time in minutes.
    pub fractional: bool,
    /// What a `Select` and a `MultiSelect` choose from; empty for every other kind.
    pub options: &'static [&'static str],
}

/// What a setting's value looks like. Serialises to the `type` of the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum Kind {
    Boolean,
    Int,
    String,
    Password,
    /// One of the definition's options.
    Select,
    /// Any of the definition's options, as an array.
    MultiSelect,
    Language,
    /// A text of several lines, such as JSON or CSS.
    Code,
    /// An image, as an object with its `url` or its `defaultUrl`.
    Asset,
    Timezone,
    /// The id of something that an endpoint lists.
    Lookup,
    /// Milliseconds.
    Timespan,
}

impl Kind {
    /// The `type` of the REST API: `boolean`, `int`, `multiSelect`, ...
    pub fn wire_name(self) -> &'static str {
        self.into()
    }

    /// What a value of this kind is, as the end of a sentence.
    fn takes(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Int => "a whole number",
            Self::String | Self::Password | Self::Code => "a text",
            Self::Select => "one of its options",
            Self::MultiSelect => "an array of its options",
            Self::Language => "the code of a language as a text",
            Self::Asset => "an object that describes an image",
            Self::Timezone => "the name of a time zone as a text",
            Self::Lookup => "an id as a text",
            Self::Timespan => "a whole number of milliseconds, zero or more",
        }
    }
}

/// The value a setting has before anybody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    Bool(bool),
    Int(i64),
    Text(&'static str),
    List(&'static [&'static str]),
    /// The path of an image that comes with the server; empty where there is none.
    Image(&'static str),
    /// The server supplies the value when it first starts.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("the setting {id} takes {}", kind.takes())]
    WrongKind { id: &'static str, kind: Kind },
    #[error("the setting {id} takes one of: {}", options.join(", "))]
    NotAnOption {
        id: &'static str,
        options: &'static [&'static str],
    },
    #[error("the setting {id} can't be so large. {excess}")]
    TooLarge {
        id: &'static str,
        excess: OutOfBounds,
    },
}

impl Definition {
    /// The default as JSON; `null` where the server supplies the value.
    pub fn default_value(&self) -> Value {
        match self.default {
            DefaultValue::Bool(value) => json!(value),
            DefaultValue::Int(value) => json!(value),
            DefaultValue::Text(value) => json!(value),
            DefaultValue::List(values) => json!(values),
            DefaultValue::Image("") => json!({}),
            DefaultValue::Image(path) => json!({ "defaultUrl": path }),
            DefaultValue::None => Value::Null,
        }
    }

    /// Refuses what this setting cannot be set to. The error never carries the value, which may be
    /// a password.
    pub fn validate(&self, value: &Value) -> Result<(), SettingError> {
        let of_its_kind = match self.kind {
            Kind::Boolean => value.is_boolean(),
            Kind::Int => value.is_i64() || (self.fractional && value.is_number()),
            Kind::Timespan => value.as_i64().is_some_and(|milliseconds| milliseconds >= 0),
            Kind::String
            | Kind::Password
            | Kind::Select
            | Kind::Language
            | Kind::Code
            | Kind::Timezone
            | Kind::Lookup => value.is_string(),
            Kind::MultiSelect => value
                .as_array()
                .is_some_and(|chosen| chosen.iter().all(Value::is_string)),
            Kind::Asset => value.is_object(),
        };
        if !of_its_kind {
            return Err(SettingError::WrongKind {
                id: self.id,
                kind: self.kind,
            });
        }
        let all_are_options = match self.kind {
            Kind::Select => self.has_option(value),
            Kind::MultiSelect => value
                .as_array()
                .into_iter()
                .flatten()
                .all(|one| self.has_option(one)),
            _ => true,
        };
        if !all_are_options {
            return Err(SettingError::NotAnOption {
                id: self.id,
                options: self.options,
            });
        }
        self.check_size(value)
            .map_err(|excess| SettingError::TooLarge {
                id: self.id,
                excess,
            })
    }

    /// How much a value of this setting may hold.
    fn limit(&self) -> Limit {
        match self.kind {
            Kind::Code => limit::SETTING_CODE,
            Kind::Asset => limit::SETTING_ASSET,
            _ => limit::SETTING_TEXT,
        }
    }

    fn check_size(&self, value: &Value) -> Result<(), OutOfBounds> {
        match value {
            Value::String(text) => self.limit().check(text),
            Value::Object(image) => free::FreeObject::parse(image.clone())?.check(&self.limit()),
            // Each option once is all that can be chosen.
            Value::Array(chosen) => Limit {
                most: self.options.len(),
                ..limit::LIST
            }
            .check_count(chosen.len())
            .map_err(|excess| excess.of("value")),
            _ => Ok(()),
        }
    }

    fn has_option(&self, value: &Value) -> bool {
        value
            .as_str()
            .is_some_and(|value| self.options.contains(&value))
    }

    const fn public(mut self) -> Self {
        self.public = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn fractional(mut self) -> Self {
        self.fractional = true;
        self
    }
}

/// Where an administrator finds a setting. The tables are written from here: a place makes
/// definitions of each kind.
#[derive(Debug, Clone, Copy)]
struct Place {
    group: &'static str,
    section: Option<&'static str>,
}

impl Place {
    const fn group(group: &'static str) -> Self {
        Self {
            group,
            section: None,
        }
    }

    const fn section(group: &'static str, section: &'static str) -> Self {
        Self {
            group,
            section: Some(section),
        }
    }

    const fn boolean(self, id: &'static str, default: bool) -> Definition {
        self.define(id, Kind::Boolean, DefaultValue::Bool(default), &[])
    }

    const fn int(self, id: &'static str, default: i64) -> Definition {
        self.define(id, Kind::Int, DefaultValue::Int(default), &[])
    }

    const fn string(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::String, DefaultValue::Text(default), &[])
    }

    /// A text whose first value the server makes up, such as its own address.
    const fn supplied(self, id: &'static str) -> Definition {
        self.define(id, Kind::String, DefaultValue::None, &[])
    }

    const fn password(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Password, DefaultValue::Text(default), &[])
    }

    const fn select(
        self,
        id: &'static str,
        default: &'static str,
        options: &'static [&'static str],
    ) -> Definition {
        self.define(id, Kind::Select, DefaultValue::Text(default), options)
    }

    const fn multi_select(
        self,
        id: &'static str,
        default: &'static [&'static str],
        options: &'static [&'static str],
    ) -> Definition {
        self.define(id, Kind::MultiSelect, DefaultValue::List(default), options)
    }

    const fn language(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Language, DefaultValue::Text(default), &[])
    }

    const fn code(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Code, DefaultValue::Text(default), &[])
    }

    const fn asset(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Asset, DefaultValue::Image(default), &[])
    }

    const fn timezone(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Timezone, DefaultValue::Text(default), &[])
    }

    const fn lookup(self, id: &'static str, default: &'static str) -> Definition {
        self.define(id, Kind::Lookup, DefaultValue::Text(default), &[])
    }

    const fn timespan(self, id: &'static str, milliseconds: i64) -> Definition {
        self.define(id, Kind::Timespan, DefaultValue::Int(milliseconds), &[])
    }

    const fn define(
        self,
        id: &'static str,
        kind: Kind,
        default: DefaultValue,
        options: &'static [&'static str],
    ) -> Definition {
        Definition {
            id,
            group: self.group,
            section: self.section,
            kind,
            default,
            public: false,
            hidden: false,
            secret: false,
            fractional: false,
            options,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn setting(id: &str) -> &'static Definition {
        definition(id).expect("the setting is defined")
    }

    #[test]
    fn no_two_settings_share_an_id() {
        let ids: HashSet<_> = all().map(|definition| definition.id).collect();
        assert_eq!(ids.len(), all().count());
    }

    #[test]
    fn every_setting_is_found_by_its_id() {
        for defined in all() {
            assert_eq!(definition(defined.id), Some(defined));
        }
        assert_eq!(definition("No_Such_Setting"), None);
    }

    #[test]
    fn every_default_is_a_value_its_setting_takes() {
        for defined in all().filter(|defined| defined.default != DefaultValue::None) {
            assert_eq!(defined.validate(&defined.default_value()), Ok(()));
        }
    }

    #[test]
    fn only_a_choice_has_options() {
        for defined in all() {
            let is_choice = matches!(defined.kind, Kind::Select | Kind::MultiSelect);
            assert_eq!(is_choice, !defined.options.is_empty(), "{}", defined.id);
        }
    }

    #[test]
    fn no_password_is_public() {
        for defined in all().filter(|defined| defined.kind == Kind::Password) {
            assert!(!defined.public, "{}", defined.id);
        }
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        let samples = [
            json!(null),
            json!(true),
            json!(1),
            json!(1.5),
            json!("no option is called like this"),
            json!(["no option is called like this"]),
            json!({}),
        ];
        let taken = [
            ("Accounts_AllowEmailChange", vec![json!(true)]),
            ("Message_MaxAllowedSize", vec![json!(1)]),
            ("Site_Name", vec![json!("no option is called like this")]),
            (
                "SMTP_Password",
                vec![json!("no option is called like this")],
            ),
            ("Accounts_RegistrationForm", vec![]),
            ("Hide_System_Messages", vec![]),
            ("Assets_logo", vec![json!({})]),
            ("RetentionPolicy_TTL_Channels", vec![json!(1)]),
        ];
        for (id, taken) in taken {
            let accepted: Vec<_> = samples
                .iter()
                .filter(|sample| setting(id).validate(sample).is_ok())
                .cloned()
                .collect();
            assert_eq!(accepted, taken, "{id}");
        }
    }

    #[test]
    fn a_choice_takes_its_options_only() {
        let form = setting("Accounts_RegistrationForm");
        assert_eq!(form.validate(&json!("Secret URL")), Ok(()));
        assert_eq!(
            form.validate(&json!("Open"))
                .map_err(|refusal| refusal.to_string()),
            Err(
                "the setting Accounts_RegistrationForm takes one of: Public, Disabled, Secret URL"
                    .into()
            )
        );
        let hidden = setting("Hide_System_Messages");
        assert_eq!(hidden.validate(&json!(["uj", "ul"])), Ok(()));
        assert!(hidden.validate(&json!(["uj", "nonsense"])).is_err());
    }

    #[test]
    fn a_value_is_no_larger_than_its_kind_takes() {
        let text = |length: usize| json!("x".repeat(length));
        let name = setting("Site_Name");
        assert_eq!(name.validate(&text(limit::SETTING_TEXT.most)), Ok(()));
        let refused = name.validate(&text(limit::SETTING_TEXT.most + 1));
        assert_eq!(
            refused.map_err(|refusal| refusal.to_string()),
            Err(
                "the setting Site_Name can't be so large. The field \"value\" takes at most 65536 \
                 characters"
                    .into()
            )
        );
        let code = setting("Accounts_CustomFields");
        assert_eq!(code.validate(&text(limit::SETTING_CODE.most)), Ok(()));
        assert!(code.validate(&text(limit::SETTING_CODE.most + 1)).is_err());
        let logo = setting("Assets_logo");
        let image = |length: usize| json!({ "url": "x".repeat(length) });
        assert_eq!(logo.validate(&image(2_000)), Ok(()));
        assert!(logo.validate(&image(limit::SETTING_ASSET.most)).is_err());
        let hidden = setting("Hide_System_Messages");
        let twice = [hidden.options, hidden.options].concat();
        assert_eq!(hidden.validate(&json!(hidden.options)), Ok(()));
        assert!(hidden.validate(&json!(twice)).is_err());
    }

    #[test]
    fn a_timespan_is_never_negative() {
        let lifetime = setting("RetentionPolicy_TTL_DMs");
        assert_eq!(
            lifetime.validate(&json!(-1)).map_err(|refusal| refusal.to_string()),
            Err("the setting RetentionPolicy_TTL_DMs takes a whole number of milliseconds, zero or more"
                .into())
        );
    }

    #[test]
    fn kinds_are_named_on_the_wire_as_in_rocket_chat() {
        assert_eq!(Kind::MultiSelect.wire_name(), "multiSelect");
        assert_eq!(Kind::Timespan.wire_name(), "timespan");
        for defined in all() {
            assert_eq!(json!(defined.kind), json!(defined.kind.wire_name()));
        }
    }
}
