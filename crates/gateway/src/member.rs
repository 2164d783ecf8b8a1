//! The member `token` of a JSON body: found as the bytes come in, and cut out so that every other byte stays.
//!
//! The parser is strict. A body that it does not take has no token, for what a lenient reader would make of it cannot be
//! known here.

use std::ops::Range;

use actson::{JsonEvent, JsonParser, feeder::PushJsonFeeder, options::JsonParserOptionsBuilder};
use bytes::{Bytes, BytesMut};

const NAME: &str = "token";
/// Deeper objects are refused, as the rest of the product refuses them.
const MOST_DEPTH: usize = 128;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How far the reading of a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is needed.
    Unfinished,
    /// The object has ended, and nothing but white space came after it.
    Whole,
    /// It is not a JSON object; the byte (from 1) at which that shows.
    Broken(usize),
}

/// Reads the beginning of a body, however it is parted.
pub struct Scan {
    parser: JsonParser<PushJsonFeeder>,
    /// Where the JSON begins: behind a byte order mark.
    start: usize,
    fed: usize,
    depth: usize,
    progress: Progress,
    /// Whether the member that is being read is the token, and where its name begins.
    name_start: usize,
    is_token: bool,
    /// Where the last thing of the object ended, be it the brace or a member.
    last_end: usize,
    /// Where the last member ended that stays.
    kept_end: Option<usize>,
    is_first_kept_seen: bool,
    tokens: Vec<Vec<u8>>,
    cuts: Vec<Range<usize>>,
}

impl Default for Scan {
    fn default() -> Self {
        let options = JsonParserOptionsBuilder::default().with_max_depth(MOST_DEPTH).build();
        Self {
            parser: JsonParser::new_with_options(PushJsonFeeder::new(), options),
            start: 0,
            fed: 0,
            depth: 0,
            progress: Progress::Unfinished,
            name_start: 0,
            is_token: false,
            last_end: 0,
            kept_end: None,
            is_first_kept_seen: false,
            tokens: Vec::new(),
            cuts: Vec::new(),
        }
    }
}

/// Tells from how a body begins whether it may be a JSON object.
#[derive(Default)]
pub struct Beginning {
    /// How many bytes are known to say nothing.
    blank: usize,
}

impl Beginning {
    /// Reads on, `body` being all that has come so far; `None` if it cannot be told yet.
    pub fn may_be_object(&mut self, body: &[u8]) -> Option<bool> {
        if self.blank == 0 {
            if body.starts_with(BYTE_ORDER_MARK) {
                self.blank = BYTE_ORDER_MARK.len();
            } else if BYTE_ORDER_MARK.starts_with(body) {
                return None;
            }
        }
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.blank += body[self.blank..].iter().take_while(is_blank).count();
        body.get(self.blank).map(|byte| *byte == b'{')
    }
}

impl Scan {
    /// Reads on: `body` is all that has come so far. `is_end` says that no more will come.
    pub fn read(&mut self, body: &[u8], is_end: bool) -> Progress {
        if self.fed == 0 && body.starts_with(BYTE_ORDER_MARK) {
            (self.start, self.fed) = (BYTE_ORDER_MARK.len(), BYTE_ORDER_MARK.len());
        }
        while !matches!(self.progress, Progress::Broken(_)) {
            match self.parser.next_event() {
                Ok(Some(JsonEvent::NeedMoreInput)) if self.fed < body.len() => {
                    self.fed += self.parser.feeder.push_bytes(&body[self.fed..]);
                }
                Ok(Some(JsonEvent::NeedMoreInput)) if !is_end => break,
                Ok(Some(JsonEvent::NeedMoreInput)) => {
                    if self.progress == Progress::Unfinished {
                        self.progress = Progress::Broken(body.len());
                    }
                    break;
                }
                Ok(Some(event)) => self.event(event, body),
                Ok(None) | Err(_) => self.progress = Progress::Broken(self.place()),
            }
        }
        self.progress
    }

    /// The tokens found, as they were meant; what is no text is found as what it is, and is no token.
    pub fn tokens(&self) -> &[Vec<u8>] {
        &self.tokens
    }

    /// The body without the members found. What is not in `body` yet need not be.
    pub fn without_tokens(&self, body: BytesMut) -> Bytes {
        if self.cuts.is_empty() {
            return body.freeze();
        }
        let mut rest = BytesMut::with_capacity(body.len());
        let mut from = 0;
        for cut in &self.cuts {
            rest.extend_from_slice(&body[from..cut.start]);
            from = cut.end;
        }
        rest.extend_from_slice(&body[from..]);
        rest.freeze()
    }

    /// Whether all that was found can be cut out: of a token before every other member, the comma behind it must have come.
    pub fn is_settled(&self) -> bool {
        self.progress == Progress::Whole
            || self.tokens.is_empty()
            || self.kept_end.is_some()
            || self.is_first_kept_seen
    }

    fn place(&self) -> usize {
        self.start + self.parser.parsed_bytes()
    }

    fn event(&mut self, event: JsonEvent, body: &[u8]) {
        let place = self.place();
        match event {
            JsonEvent::StartObject | JsonEvent::StartArray => {
                self.depth += 1;
                if self.depth == 1 {
                    if event == JsonEvent::StartArray {
                        self.progress = Progress::Broken(place);
                    }
                    self.last_end = place;
                }
            }
            JsonEvent::EndObject | JsonEvent::EndArray => {
                self.depth -= 1;
                match self.depth {
                    0 => self.progress = Progress::Whole,
                    1 => self.value_ended(place, None),
                    _ => {}
                }
            }
            JsonEvent::FieldName if self.depth == 1 => {
                let gap = body.get(self.last_end..place).unwrap_or_default();
                self.name_start =
                    self.last_end + gap.iter().position(|byte| *byte == b'"').unwrap_or_default();
                match self.parser.current_str() {
                    Ok(name) => self.is_token = name == NAME,
                    Err(_) => self.progress = Progress::Broken(place),
                }
                self.name_began();
            }
            JsonEvent::ValueString if self.depth == 1 => {
                let text = self.parser.current_str().map(|text| text.as_bytes().to_vec()).ok();
                self.value_ended(place, text);
            }
            // A number ends where the byte behind it has come.
            JsonEvent::ValueInt | JsonEvent::ValueFloat if self.depth == 1 => {
                self.value_ended(place - 1, None)
            }
            JsonEvent::ValueTrue | JsonEvent::ValueFalse if self.depth == 1 => self.value_ended(place, None),
            JsonEvent::ValueNull if self.depth == 1 => self.value_ended(place, Some(Vec::new())),
            _ => {}
        }
    }

    /// The comma between what was cut at the front of the object and the first member that stays goes too.
    fn name_began(&mut self) {
        if self.is_token || self.kept_end.is_some() || self.is_first_kept_seen {
            return;
        }
        self.is_first_kept_seen = true;
        if let Some(cut) = self.cuts.last_mut() {
            cut.end = self.name_start;
        }
    }

    /// A member of the object has ended; `text` is its value if that is a text, and empty for `null`.
    fn value_ended(&mut self, end: usize, text: Option<Vec<u8>>) {
        self.last_end = end;
        match (self.is_token, text) {
            // Nothing is given, and so there is nothing to take out.
            (true, Some(text)) if text.is_empty() => self.keep(end),
            (true, text) => {
                // What is no text cannot be a token, whatever it says.
                self.tokens.push(text.unwrap_or_else(|| b"\0".to_vec()));
                let start = self.kept_end.unwrap_or(self.name_start);
                match self.cuts.last_mut() {
                    Some(cut) if self.kept_end.is_none() || cut.start == start => cut.end = end,
                    _ => self.cuts.push(start..end),
                }
            }
            (false, _) => self.keep(end),
        }
        self.is_token = false;
    }

    fn keep(&mut self, end: usize) {
        // An empty token may be the first member that stays.
        if self.kept_end.is_none()
            && !self.is_first_kept_seen
            && let Some(cut) = self.cuts.last_mut()
        {
            cut.end = self.name_start;
        }
        self.is_first_kept_seen = true;
        self.kept_end = Some(end);
    }
}

#[cfg(test)]
mod tests;
