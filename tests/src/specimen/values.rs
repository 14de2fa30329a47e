//! Values as large, as deep and as odd as any that is recorded, and plain ones.

use hansard_domain::free::{self, FreeObject};
use hansard_domain::limit::{self, Limit};
use serde_json::{Map, Value, json};

use crate::load::dice::Dice;

/// In which way values are extreme, if they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Deepest,
    Widest,
    Longest,
    /// A bit of everything, by the dice.
    Mixed,
    /// Deeper than anything that is recorded today, as logs hold that are older than the limits.
    Older,
    /// Short and readable.
    Plain,
}

impl Shape {
    /// Those that are extreme.
    pub const ALL: [Self; 5] = [
        Self::Deepest,
        Self::Widest,
        Self::Longest,
        Self::Mixed,
        Self::Older,
    ];
}

/// How deep a value could nest before there were limits: the parser took so many levels, of which the
/// request's own object was one.
const OLDER_LEVELS: usize = 126;

/// Characters that mean something to somebody: to JSON, to SQL, to a terminal, to a parser of UTF-16.
const ODD: &[&str] = &[
    "\"",
    "\\",
    "\u{0}",
    "\u{1}",
    "\n",
    "\t",
    "'",
    "%",
    "_",
    "`",
    "{",
    "}",
    "[",
    "]",
    "\u{7f}",
    "\u{a0}",
    "\u{ad}",
    "ß",
    "İ",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "é",
    "e\u{301}",
    "😀",
    "👩\u{200d}🚀",
    "\u{10ffff}",
    "漢",
    "ﷺ",
    "a",
    "Z",
    "0",
    " ",
];

/// Makes values.
pub struct Values<'d> {
    pub shape: Shape,
    dice: &'d mut Dice,
}

impl<'d> Values<'d> {
    pub fn new(shape: Shape, dice: &'d mut Dice) -> Self {
        Self { shape, dice }
    }

    /// A text of as many characters as a limit takes, or of fewer where the shape is not about that.
    pub fn text(&mut self, limit: &Limit) -> String {
        let most = match self.shape {
            Shape::Longest => limit.most,
            Shape::Plain => return "some text".chars().take(limit.most).collect(),
            _ => limit.most.min(40),
        };
        self.characters(most)
    }

    fn characters(&mut self, most: usize) -> String {
        let mut text = String::new();
        let mut left = most;
        while left > 0 {
            let piece = self.dice.pick(ODD);
            let length = piece.encode_utf16().count();
            if length > left {
                text.push('x');
                left -= 1;
            } else {
                text.push_str(piece);
                left -= length;
            }
        }
        text
    }

    /// Several texts.
    pub fn texts(&mut self, several: &Limit, each: &Limit) -> Vec<String> {
        let count = match self.shape {
            Shape::Widest => several.most,
            Shape::Plain => 1,
            _ => several.most.min(3),
        };
        (0..count).map(|_| self.text(each)).collect()
    }

    /// An object of a client's own making that has no more bytes than a limit takes.
    pub fn object(&mut self, limit: &Limit) -> Map<String, Value> {
        self.object_within(limit, 0)
    }

    /// The same where a value of a client's own making has so many levels around it.
    pub fn object_within(&mut self, limit: &Limit, around: usize) -> Map<String, Value> {
        let object = match self.shape {
            Shape::Deepest => wrapped(self.nested(limit::FREE_LEVELS.most - around - 1)),
            Shape::Older => self.older(OLDER_LEVELS - around),
            Shape::Widest => wide(limit),
            Shape::Longest => wrapped(long(limit.most)),
            Shape::Mixed => self.mixed(limit),
            Shape::Plain => Map::from_iter([("number".to_owned(), json!([1, { "two": null }]))]),
        };
        if self.shape != Shape::Older {
            let taken = FreeObject::parse(object.clone()).expect("an object that is taken");
            taken.check(limit).expect("an object that is taken");
        }
        object
    }

    /// What nobody can send any more, and logs hold that are older than the limits. The name is one
    /// that the parser of JSON gives to a text that holds JSON.
    fn older(&mut self, levels: usize) -> Map<String, Value> {
        let mut object = wrapped(self.nested(levels - 1));
        let name = "$serde_json::private::RawValue".to_owned();
        object.insert(name, json!("not JSON"));
        object
    }

    fn nested(&mut self, levels: usize) -> Value {
        let leaf = self.characters(3);
        self.around(levels, leaf.into())
    }

    fn around(&mut self, levels: usize, leaf: Value) -> Value {
        (1..levels).fold(json!([leaf]), |inner, _| {
            if self.dice.chance(50) {
                json!([inner])
            } else {
                json!({ "k": inner })
            }
        })
    }

    fn scalar(&mut self) -> Value {
        match self.dice.below(14) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(false),
            3 => json!(0),
            4 => json!(-0.0),
            5 => json!(u64::MAX),
            6 => json!(i64::MIN),
            7 => json!(f64::MAX),
            8 => json!(f64::MIN_POSITIVE),
            9 => json!(5e-324),
            // Any number at all, as far as JSON has it.
            10 => json!(f64::from_bits(self.dice.roll())),
            11 => json!([]),
            12 => json!({}),
            _ => json!(self.characters(7)),
        }
    }

    /// Objects that look like what the record is written in, and others.
    fn mixed(&mut self, limit: &Limit) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, value) in [
            ("k", json!({ "k": 7, "v": "not a part" })),
            ("shredded", json!({ "k": 7, "shredded": true })),
            ("c", json!({ "k": 7, "c": "bm8gcGFydA" })),
            ("$date", json!({ "$date": 1 })),
            ("__proto__", json!({ "constructor": null })),
            ("", json!("")),
            ("a.b", json!({ "$gt": "" })),
        ] {
            object.insert(name.to_owned(), value);
        }
        loop {
            let name = self.characters(12);
            let (levels, leaf) = (1 + self.dice.below(5), self.scalar());
            let before = object.insert(name.clone(), self.around(levels, leaf));
            let taken = FreeObject::parse(object.clone());
            if taken.is_ok_and(|object| object.check(limit).is_err()) || object.len() > 200 {
                object.shift_remove(&name);
                if let Some(before) = before {
                    object.insert(name, before);
                }
                return object;
            }
        }
    }
}

fn wrapped(value: Value) -> Map<String, Value> {
    Map::from_iter([("f".to_owned(), value)])
}

/// A text that makes the object around it exactly so large.
fn long(bytes: usize) -> Value {
    // `{"f":"…"}`
    json!("x".repeat(bytes - 8))
}

/// As many members as there can be.
fn wide(limit: &Limit) -> Map<String, Value> {
    let each = r#""m0000":0,"#.len();
    let count = free::values_within(limit).min((limit.most - 2) / each);
    (0..count)
        .map(|number| (format!("m{number:04}"), json!(0)))
        .collect()
}
