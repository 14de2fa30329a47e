//! How much of each field is taken: the table of limits, with where each comes from.
//!
//! Whatever takes a field from outside checks it against this table before anything is decided, so
//! that no door and no use case has a number of its own. A character is a UTF-16 unit, as Rocket.Chat
//! counts them. Where a setting of the workspace says how much, it stands in the limit's source; the
//! number here holds beside it.

use std::borrow::Cow;
use std::fmt;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// UTF-16 units.
    Characters,
    /// Of the field as JSON.
    Bytes,
    Entries,
    /// Arrays and objects inside of each other.
    Levels,
    /// Members and elements, at whatever depth.
    Values,
    /// Of the name of a member.
    NameBytes,
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Bytes => "bytes",
            Self::Entries => "entries",
            Self::Levels => "levels of nesting",
            Self::Values => "values",
            Self::NameBytes => "bytes in the name of a member",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field that is not taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    #[error("The field \"{field}\" takes at most {most} {unit}")]
    TooMuch {
        field: Cow<'static, str>,
        most: usize,
        unit: Unit,
    },
    /// The parser of JSON reads something else into such a member.
    #[error("The field \"{field}\" takes no member whose name begins with \"$serde_json\"")]
    ReservedName { field: Cow<'static, str> },
}

impl OutOfBounds {
    pub fn field(&self) -> &str {
        match self {
            Self::TooMuch { field, .. } | Self::ReservedName { field } => field,
        }
    }

    /// The same, said of the field that holds it.
    #[must_use]
    pub fn of(self, field: impl Into<Cow<'static, str>>) -> Self {
        let field = field.into();
        match self {
            Self::TooMuch { most, unit, .. } => Self::TooMuch { field, most, unit },
            Self::ReservedName { .. } => Self::ReservedName { field },
        }
    }
}

/// How much a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What clients call the field.
    pub field: &'static str,
    pub most: usize,
    pub unit: Unit,
    /// Where the number comes from.
    pub source: &'static str,
}

/// Numbers that Rocket.Chat has none for: generous for people, and small beside what a request takes.
const OWN: &str = "Hansard";

impl Limit {
    const fn new(field: &'static str, most: usize, unit: Unit, source: &'static str) -> Self {
        Self {
            field,
            most,
            unit,
            source,
        }
    }

    const fn characters(field: &'static str, most: usize, source: &'static str) -> Self {
        Self::new(field, most, Unit::Characters, source)
    }

    const fn bytes(field: &'static str, most: usize, source: &'static str) -> Self {
        Self::new(field, most, Unit::Bytes, source)
    }

    const fn entries(field: &'static str, most: usize, source: &'static str) -> Self {
        Self::new(field, most, Unit::Entries, source)
    }

    /// Refuses a text that has too many characters.
    pub fn check(&self, text: &str) -> Result<(), OutOfBounds> {
        // A text has at most as many characters as bytes.
        if text.len() <= self.most || text.encode_utf16().nth(self.most).is_none() {
            return Ok(());
        }
        Err(self.exceeded())
    }

    /// Refuses a text that is there and has too many characters.
    pub fn check_given(&self, text: Option<&str>) -> Result<(), OutOfBounds> {
        text.map_or(Ok(()), |text| self.check(text))
    }

    /// Refuses too many entries or bytes.
    pub fn check_count(&self, count: usize) -> Result<(), OutOfBounds> {
        if count <= self.most {
            return Ok(());
        }
        Err(self.exceeded())
    }

    /// Refuses too many texts, and any that `each` refuses.
    pub fn check_each(&self, texts: &[impl AsRef<str>], each: &Limit) -> Result<(), OutOfBounds> {
        self.check_count(texts.len())?;
        texts.iter().try_for_each(|text| each.check(text.as_ref()))
    }

    pub fn exceeded(&self) -> OutOfBounds {
        OutOfBounds::TooMuch {
            field: Cow::Borrowed(self.field),
            most: self.most,
            unit: self.unit,
        }
    }
}

/// The beginning of a text that has no more characters than a limit takes.
pub fn cut<'a>(text: &'a str, limit: &Limit) -> &'a str {
    let mut characters = 0;
    let end = text.char_indices().find(|(_, character)| {
        characters += character.len_utf16();
        characters > limit.most
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Channels, groups, and conversations of more than two that are there and were made by one account, unless it
/// holds `api-bypass-rate-limit`: each takes memory for as long as it is there. Ours; Discord has 500 for a server.
pub const ROOMS_OF_ONE: u32 = 1_000;

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $limit:expr;)*) => {
        $($(#[$doc])* pub const $name: Limit = $limit;)*

        /// Every limit there is.
        pub const ALL: &[Limit] = &[$($name),*];
    };
}

table! {
    // Requests as a whole.
    /// Any text of a request that no other limit is set for, so also the longest message there can be.
    TEXT = Limit::characters("text", 256 * 1024, OWN);
    /// Any text of a query string.
    QUERY_TEXT = Limit::characters("text", 8 * 1024, OWN);
    /// Any list of a request that no other limit is set for.
    LIST = Limit::entries("list", 10_000, OWN);

    // Values whose shape a client chooses.
    FREE_LEVELS = Limit::new("value", 32, Unit::Levels, OWN);
    FREE_VALUES = Limit::new("value", 5_000, Unit::Values, OWN);
    FREE_NAME = Limit::new("value", 256, Unit::NameBytes, OWN);
    FREE_BYTES = Limit::bytes("value", 256 * 1024, OWN);

    // Accounts.
    USERNAME = Limit::characters("username", 128, "Hansard; UTF8_User_Names_Validation says of what");
    NAME = Limit::characters("name", 255, OWN);
    /// A path in an envelope.
    EMAIL = Limit::characters("email", 254, "RFC 5321, 4.5.3.1.3");
    PASSWORD = Limit::characters("password", 1_024, "Hansard; Accounts_Password_Policy_MaxLength may say less");
    BIO = Limit::characters("bio", 260, "Rocket.Chat, saveUser");
    NICKNAME = Limit::characters("nickname", 120, "Rocket.Chat, saveUser");
    /// What is beyond it is cut off.
    STATUS_TEXT = Limit::characters("statusText", 120, "Rocket.Chat, setStatusText");
    /// Why somebody asks to be let in.
    REASON = Limit::characters("reason", 2_000, OWN);
    ACCOUNT_FIELDS = Limit::bytes("customFields", 16 * 1024, "Hansard; Accounts_CustomFields says which");
    PREFERENCES = Limit::bytes("data", 32 * 1024, OWN);
    LANGUAGE = Limit::characters("language", 64, OWN);
    ROLES = Limit::entries("roles", 100, OWN);
    TOKEN_NAME = Limit::characters("tokenName", 255, OWN);
    /// An account's personal access tokens.
    TOKENS = Limit::entries("tokenName", 100, OWN);
    /// What somebody logs in with: a username or an address.
    LOGIN_NAME = Limit::characters("user", 254, "the longest email address");

    // Rooms.
    ROOM_NAME = Limit::characters("name", 255, "Hansard; UTF8_Channel_Names_Validation says of what");
    TOPIC = Limit::characters("topic", 2_000, OWN);
    DESCRIPTION = Limit::characters("description", 5_000, OWN);
    ANNOUNCEMENT = Limit::characters("announcement", 5_000, OWN);
    JOIN_CODE = Limit::characters("joinCode", 255, OWN);
    ROOM_FIELDS = Limit::bytes("customFields", 16 * 1024, OWN);
    /// Those that one request puts into a room.
    MEMBERS = Limit::entries("members", 1_000, "Hansard; API_User_Limit holds for everybody at once");
    SYSTEM_MESSAGES = Limit::entries("systemMessages", 100, OWN);
    SYSTEM_MESSAGE = Limit::characters("systemMessages", 64, OWN);
    /// A preference of how somebody is told of what happens in a room.
    NOTIFICATION = Limit::characters("notifications", 64, OWN);
    /// Those whose messages a prune is about.
    PRUNED_USERS = Limit::entries("users", 1_000, OWN);

    // Messages.
    MESSAGE_TEXT = Limit::characters("msg", 256 * 1024, "Message_MaxAllowedSize");
    /// A message with all that belongs to it.
    MESSAGE = Limit::bytes("message", 256 * 1024, OWN);
    ALIAS = Limit::characters("alias", 255, OWN);
    EMOJI = Limit::characters("emoji", 100, OWN);
    AVATAR = Limit::characters("avatar", 2_048, OWN);
    ATTACHMENTS = Limit::entries("attachments", 100, OWN);
    BLOCKS = Limit::entries("blocks", 100, "Slack's Block Kit, messages take 50");
    MESSAGE_FIELDS = Limit::bytes("customFields", 16 * 1024, "Hansard; Message_CustomFields says which");
    /// Links in a text that are told of; what is beyond is not looked at.
    LINKS = Limit::entries("urls", 200, OWN);
    PREVIEWS = Limit::entries("previewUrls", 200, OWN);
    /// People, and rooms, that a text calls; what is beyond is not looked at.
    MENTIONS = Limit::entries("mentions", 200, OWN);
    /// Rooms and people that one post goes to.
    CHANNELS = Limit::entries("channel", 100, OWN);
    /// All copies together of what is posted to several.
    POSTED = Limit::bytes("channel", 1024 * 1024, OWN);
    REACTION = Limit::characters("emoji", 100, OWN);
    /// Edits, marks and reports of a message; it takes no more than can be read again for each.
    CHANGES = Limit::entries("changes", 5_000, OWN);
    /// All edits of a message together.
    EDITS = Limit::bytes("edits", 4 * 1024 * 1024, OWN);
    /// Different reactions on a message.
    REACTIONS = Limit::entries("reactions", 50, "Slack, reactions.add");
    REPORT = Limit::characters("description", 2_000, OWN);

    // Integrations.
    INTEGRATION_NAME = Limit::characters("name", 255, OWN);
    INTEGRATION_CHANNELS = Limit::entries("channel", 100, OWN);
    CHANNEL = Limit::characters("channel", 255, OWN);
    TARGET_ROOM = Limit::characters("targetRoom", 255, OWN);
    SCRIPT = Limit::characters("script", 128 * 1024, OWN);
    SCRIPT_ENGINE = Limit::characters("scriptEngine", 32, OWN);
    INTEGRATION_URLS = Limit::entries("urls", 50, OWN);
    URL = Limit::characters("url", 2_048, OWN);
    TRIGGER_WORDS = Limit::entries("triggerWords", 100, OWN);
    TRIGGER_WORD = Limit::characters("triggerWords", 255, OWN);
    INTEGRATION_TOKEN = Limit::characters("token", 255, OWN);
    SIGNING_SECRET = Limit::characters("signingSecret", 255, "Standard Webhooks, 24 to 64 bytes in base64");

    // The workspace.
    ROLE_NAME = Limit::characters("name", 255, OWN);
    ROLE_DESCRIPTION = Limit::characters("description", 2_000, OWN);
    /// Roles that a workspace has beside those that every one has.
    WORKSPACE_ROLES = Limit::entries("roles", 1_000, OWN);
    PERMISSIONS = Limit::entries("permissions", 1_000, OWN);
    SETTING_TEXT = Limit::characters("value", 64 * 1024, OWN);
    /// A setting that holds a program or a document.
    SETTING_CODE = Limit::characters("value", 128 * 1024, OWN);
    SETTING_ASSET = Limit::bytes("value", 16 * 1024, OWN);

    // The record.
    /// What is kept of a client's `User-Agent`, in bytes.
    USER_AGENT = Limit::bytes("User-Agent", 512, OWN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_as_rocket_chat_counts_them() {
        let limit = Limit::characters("topic", 4, OWN);
        for taken in ["", "abcd", "äöüß", "😀😀"] {
            assert_eq!(limit.check(taken), Ok(()), "{taken}");
        }
        for refused in ["abcde", "😀😀a"] {
            let refusal = limit.check(refused).unwrap_err();
            assert_eq!(
                refusal.to_string(),
                "The field \"topic\" takes at most 4 characters"
            );
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let limit = Limit::characters("statusText", 3, OWN);
        assert_eq!(cut("abcd", &limit), "abc");
        assert_eq!(cut("ab", &limit), "ab");
        assert_eq!(cut("a😀😀", &limit), "a😀");
        assert_eq!(cut("ab😀", &limit), "ab");
    }

    #[test]
    fn a_refusal_names_the_field_that_holds_the_value() {
        let refusal = FREE_LEVELS.exceeded().of("customFields");
        assert_eq!(
            refusal.to_string(),
            "The field \"customFields\" takes at most 32 levels of nesting"
        );
    }

    #[test]
    fn every_limit_says_how_much_of_what() {
        for limit in ALL {
            assert!(limit.most > 0 && !limit.field.is_empty() && !limit.source.is_empty());
            assert!(
                limit
                    .exceeded()
                    .to_string()
                    .contains(&limit.most.to_string())
            );
        }
    }
}
