//! What hosts say to each other of frames that watch paths.

use overlayd_core::cluster::path_watch::{Message, Word};
use overlayd_core::id::SegmentId;

use crate::convert::{Malformed, unknown};
use crate::gossip as wire;

impl From<Message> for wire::PathWord {
    fn from(message: Message) -> Self {
        let word = match message.word {
            Word::Sent => wire::path_word::Word::Sent,
            Word::Arrived => wire::path_word::Word::Arrived,
            Word::Lost => wire::path_word::Word::Lost,
        };
        Self {
            segment: message.segment.0,
            number: message.number,
            word: word.into(),
        }
    }
}

impl TryFrom<wire::PathWord> for Message {
    type Error = Malformed;

    fn try_from(message: wire::PathWord) -> Result<Self, Malformed> {
        let word = match message.word() {
            wire::path_word::Word::Sent => Word::Sent,
            wire::path_word::Word::Arrived => Word::Arrived,
            wire::path_word::Word::Lost => Word::Lost,
            wire::path_word::Word::Unspecified => return Err(unknown(message.word, "path.word")),
        };
        Ok(Self {
            segment: SegmentId(message.segment),
            number: message.number,
            word,
        })
    }
}
