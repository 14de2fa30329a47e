//! A line of an IRC log. Knows the format, not what becomes of a line.

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `[hh:mm] <nick> text`; the text keeps its blanks and may be empty.
    Said { nick: String, text: String },
    /// `[hh:mm]  * nick text`
    Acted { nick: String, text: String },
    /// `=== nick [host]  has joined #channel`
    Joined { nick: String },
    /// `=== nick is now known as other`
    Renamed { from: String, to: String },
    /// Leaving, modes, topics, notices: not played.
    Other,
}

impl Line {
    /// Reads a line without its line break. Nothing is an error: what is not known is [`Line::Other`].
    pub fn read(line: &str) -> Self {
        match line.strip_prefix("===") {
            Some(event) => Self::read_event(event.trim()),
            None => Self::read_spoken(line).unwrap_or(Self::Other),
        }
    }

    fn read_event(event: &str) -> Self {
        if let Some((from, to)) = event.split_once(" is now known as ") {
            let (from, to) = (from.trim(), to.trim());
            if !from.is_empty() && !to.is_empty() {
                return Self::Renamed {
                    from: from.to_owned(),
                    to: to.to_owned(),
                };
            }
        }
        match event.split_once(' ') {
            Some((nick, rest))
                if rest.contains(" has joined #") || rest.starts_with("has joined #") =>
            {
                Self::Joined {
                    nick: nick.to_owned(),
                }
            }
            _ => Self::Other,
        }
    }

    fn read_spoken(line: &str) -> Option<Self> {
        let (_time, rest) = line.strip_prefix('[')?.split_once("] ")?;
        if let Some(rest) = rest.strip_prefix('<') {
            let (nick, text) = rest.split_once('>')?;
            let text = text.strip_prefix(' ').unwrap_or(text);
            return Some(Self::Said {
                nick: nick.to_owned(),
                text: text.to_owned(),
            });
        }
        let (nick, text) = rest.trim_start().strip_prefix("* ")?.split_once(' ')?;
        Some(Self::Acted {
            nick: nick.to_owned(),
            text: text.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(nick: &str, text: &str) -> Line {
        Line::Said {
            nick: nick.into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_message_keeps_every_byte_of_its_text() {
        assert_eq!(
            Line::read("[12:18] <|trey|> usual, quite  :)"),
            said("|trey|", "usual, quite  :)")
        );
        assert_eq!(
            Line::read("[00:01] <bob[1] >   hey > you "),
            said("bob[1] ", "  hey > you ")
        );
        assert_eq!(
            Line::read("[00:01] <a> [x] <b> żółć"),
            said("a", "[x] <b> żółć")
        );
        assert_eq!(Line::read("[07:54] <rosendahl>"), said("rosendahl", ""));
        assert_eq!(Line::read("[07:54] <rosendahl> "), said("rosendahl", ""));
    }

    #[test]
    fn an_action_is_told_from_a_message() {
        assert_eq!(
            Line::read("[13:54]  * MinIRC  is hugging"),
            Line::Acted {
                nick: "MinIRC".into(),
                text: "is hugging".into()
            }
        );
        assert_eq!(Line::read("[13:54] <a> * b waves"), said("a", "* b waves"));
    }

    #[test]
    fn joins_and_renames_are_read_in_both_forms() {
        let joined = Line::Joined {
            nick: "Lynx-".into(),
        };
        assert_eq!(
            Line::read("=== Lynx- [n=andrey@85.234.187.157]  has joined #ubuntu"),
            joined
        );
        assert_eq!(Line::read("=== Lynx- has joined #Ubuntu"), joined);
        assert_eq!(
            Line::read("=== a^ is now known as b|away"),
            Line::Renamed {
                from: "a^".into(),
                to: "b|away".into()
            }
        );
    }

    #[test]
    fn the_rest_is_not_played() {
        for line in [
            "=== topyli [~juha@dsl.fi]  has left #ubuntu []",
            "=== #ubuntu [+o Seveas]  by ChanServ",
            "[05:12] -abc:#ubuntu- notice",
            "",
            "===",
            "[nonsense",
        ] {
            assert_eq!(Line::read(line), Line::Other, "{line}");
        }
    }
}
