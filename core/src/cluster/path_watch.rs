//! Whether the frames of segments get from host to host: small marked frames go the way that guests' frames go, and what
//! became of each is told over gRPC.
//!
//! ```text
//!  this host ── frame, through the segment's VXLAN device ──► peer
//!            ── Sent(number), over gRPC ────────────────────► peer
//!            ◄─ Arrived(number) or Lost(number), over gRPC ── peer
//! ```
//! Two in a row that are lost say that this direction is blocked. The receiver finds that; the sender only asks again. Where
//! nothing is said, as by a peer that does not know these messages, nothing follows. Here is decided when and for whom;
//! frames are sent and heard elsewhere.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{HostId, SegmentId};
use crate::time::{Duration, Instant};

/// Each segment of each peer has its turn so often, ...
const ROUND: Duration = Duration::from_secs(5);
/// ... but a host sends two frames a second at most: with nine peers one of a peer's segments then has its turn every 4.5 s.
const PACE: Duration = Duration::from_millis(500);
/// After a loss the same path is asked again so much later.
const AGAIN: Duration = Duration::from_secs(1);
/// A frame that has not come so long after its word is lost: it set out before, and takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// A host that is so late itself has not had the time to hear the frame.
const LATE: Duration = Duration::from_millis(150);
/// So many in a row are lost where a path is blocked.
const BLOCKED: u32 = 2;

/// The frames of one segment between this host and a peer.
pub type Path = (HostId, SegmentId);

/// What a frame that watches a path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its sender.
    pub from: HostId,
    /// The segment that it was sent in.
    pub segment: SegmentId,
    /// Which of the sender's frames.
    pub number: u64,
}

/// What hosts say to each other about frames, each of which has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose frame.
    pub segment: SegmentId,
    /// Which.
    pub number: u64,
    /// What is said of it.
    pub word: Word,
}

/// What is said of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The sender of the frame: it is on its way.
    Sent,
    /// The receiver: it has arrived.
    Arrived,
    /// The receiver: it has not.
    Lost,
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a frame, and once it is out report it to [`PathWatch::handle_sent`].
    Frame {
        /// The peer and the segment.
        path: Path,
        /// Its number.
        number: u64,
    },
    /// Say something to a peer.
    Say {
        /// To whom.
        to: HostId,
        /// What.
        message: Message,
    },
    /// A way to this host is blocked, or no longer.
    Changed,
}

/// Which of the paths that are due has its turn first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Of all: whether it is blocked is in doubt.
    First,
    /// Of those of its peer: it is new.
    Soon,
    /// Whichever has waited the longest.
    Usual,
}

#[derive(Clone, Copy, Debug)]
struct Outgoing {
    due: Instant,
    turn: Turn,
    /// The frame of which nothing was said yet.
    open: Option<u64>,
    lost: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Incoming {
    /// The last frame that has arrived.
    arrived: Option<u64>,
    /// A frame that is waited for, and until when.
    expected: Option<(u64, Instant)>,
    lost: u32,
}

/// All paths of this host.
#[derive(Debug)]
pub struct PathWatch {
    paths: BTreeMap<Path, (Outgoing, Incoming)>,
    /// When a peer last had a turn, whichever of its segments.
    visited: BTreeMap<HostId, Instant>,
    last_sent: Option<Instant>,
    next_number: u64,
    /// When something is due. Kept, because it is asked for after everything that happens.
    timeout: Option<Instant>,
    effects: VecDeque<Effect>,
}

impl PathWatch {
    /// Without paths. Frames are numbered from `first` on, which nobody can guess.
    pub fn new(first: u64) -> Self {
        Self {
            paths: BTreeMap::new(),
            visited: BTreeMap::new(),
            last_sent: None,
            next_number: first,
            timeout: None,
            effects: VecDeque::new(),
        }
    }

    /// The paths to be watched, given whole, each with how long it takes to settle where it is new.
    pub fn set_paths(&mut self, wanted: &BTreeMap<Path, Duration>, now: Instant) {
        if self.paths.keys().eq(wanted.keys()) {
            return;
        }
        self.paths.retain(|path, _| wanted.contains_key(path));
        self.visited
            .retain(|host, _| wanted.keys().any(|(wanted, _)| wanted == host));
        for (path, settles) in wanted {
            let new = Outgoing {
                due: now + *settles,
                turn: Turn::Soon,
                open: None,
                lost: 0,
            };
            self.paths.entry(*path).or_insert((new, Incoming::default()));
        }
        self.set_timeout();
    }

    /// A frame is out.
    pub fn handle_sent(&mut self, path: Path, number: u64) {
        let (to, segment) = path;
        if self.paths.get(&path).is_some_and(|(out, _)| out.open == Some(number)) {
            let word = Word::Sent;
            let message = Message { segment, number, word };
            self.effects.push_back(Effect::Say { to, message });
        }
    }

    /// A frame of a peer has arrived.
    pub fn handle_frame(&mut self, path: Path, number: u64) {
        let Some((_, incoming)) = self.paths.get_mut(&path) else {
            return;
        };
        incoming.arrived = Some(number);
        if incoming.expected.take_if(|(expected, _)| *expected == number).is_some() {
            self.reply(path, number, Word::Arrived);
            self.set_timeout();
        }
    }

    /// A peer has said something.
    pub fn handle_message(&mut self, from: HostId, message: Message, now: Instant) {
        let Message { segment, number, word } = message;
        let path = (from, segment);
        let Some((out, incoming)) = self.paths.get_mut(&path) else {
            return;
        };
        match word {
            Word::Sent if incoming.arrived == Some(number) => self.reply(path, number, Word::Arrived),
            Word::Sent => incoming.expected = Some((number, now + PATIENCE)),
            Word::Arrived | Word::Lost if out.open != Some(number) => return,
            Word::Lost => {
                out.open = None;
                out.lost = (out.lost + 1).min(BLOCKED);
                if out.lost < BLOCKED {
                    (out.turn, out.due) = (Turn::First, now + AGAIN);
                }
            }
            Word::Arrived => {
                out.open = None;
                if std::mem::take(&mut out.lost) >= BLOCKED {
                    self.doubt_others(from, now);
                }
            }
        }
        self.set_timeout();
    }

    /// What is to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`PathWatch::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Sends the frame whose turn it is, and gives up those that have not come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timeout.is_none_or(|at| now < at) {
            return;
        }
        let mut lost = Vec::new();
        for (path, (_, incoming)) in &mut self.paths {
            match &mut incoming.expected {
                Some((_, until)) if *until + LATE < now => *until = now + PATIENCE,
                Some((number, until)) if *until <= now => lost.push((*path, *number)),
                Some(_) | None => {}
            }
        }
        for (path, number) in lost {
            self.reply(path, number, Word::Lost);
        }
        if self.last_sent.is_none_or(|at| at + PACE <= now) {
            self.send(now);
        }
        self.set_timeout();
    }

    /// The paths on which frames to this host are lost.
    pub fn blocked(&self) -> impl Iterator<Item = Path> {
        let blocked = self.paths.iter().filter(|(_, (_, incoming))| incoming.lost >= BLOCKED);
        blocked.map(|(path, _)| *path)
    }

    /// Something gets through to this peer again: what of it was blocked, too, may be open.
    fn doubt_others(&mut self, peer: HostId, now: Instant) {
        let of_peer = self.paths.iter_mut().filter(|(path, _)| path.0 == peer);
        for (_, (out, _)) in of_peer.filter(|(_, (out, _))| out.lost >= BLOCKED) {
            (out.turn, out.due) = (Turn::First, now);
        }
    }

    /// What is in doubt comes first; then the peer that has waited the longest, with that of its segments that is new or
    /// has waited the longest.
    fn send(&mut self, now: Instant) {
        let due = self.paths.iter().filter(|(_, (out, _))| out.due <= now);
        let order = |(path, (out, _)): (&Path, &(Outgoing, Incoming))| {
            let visited = self.visited.get(&path.0).copied();
            (out.turn != Turn::First, visited, out.turn, out.due, *path)
        };
        let Some((.., path)) = due.map(order).min() else { return };
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        if let Some((out, _)) = self.paths.get_mut(&path) {
            (out.open, out.turn, out.due) = (Some(number), Turn::Usual, now + ROUND);
        }
        self.visited.insert(path.0, now);
        self.last_sent = Some(now);
        self.effects.push_back(Effect::Frame { path, number });
    }

    fn reply(&mut self, path: Path, number: u64, word: Word) {
        let (to, segment) = path;
        if let Some((_, incoming)) = self.paths.get_mut(&path) {
            incoming.expected = None;
            let before = incoming.lost >= BLOCKED;
            incoming.lost = match word {
                Word::Lost => (incoming.lost + 1).min(BLOCKED),
                Word::Sent | Word::Arrived => 0,
            };
            if before != (incoming.lost >= BLOCKED) {
                self.effects.push_back(Effect::Changed);
            }
        }
        let message = Message { segment, number, word };
        self.effects.push_back(Effect::Say { to, message });
    }

    fn set_timeout(&mut self) {
        let ways = self.paths.values();
        let send = ways.clone().map(|(out, _)| out.due).min();
        let paced = |at: Instant| self.last_sent.map_or(at, |last| at.max(last + PACE));
        let expected = ways.filter_map(|(_, incoming)| incoming.expected.map(|(_, until)| until));
        self.timeout = expected.chain(send.map(paced)).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUE: SegmentId = SegmentId(7);
    const PEER: Path = (HostId(2), BLUE);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A watch over as many peers and segments, and what it sent until then, with the times; `word` is the answer to each.
    fn sent(peers: u64, segments: u64, until: u64, word: Option<Word>) -> (PathWatch, Vec<(u64, Path)>) {
        let mut watch = PathWatch::new(1);
        let paths = (0..peers).flat_map(|peer| (0..segments).map(move |it| (HostId(2 + peer), SegmentId(7 + it))));
        watch.set_paths(&paths.map(|path| (path, Duration::from_secs(1))).collect(), at(0));
        let mut frames = Vec::new();
        while let Some(now) = watch.poll_timeout().filter(|now| *now <= at(until)) {
            watch.handle_timeout(now);
            while let Some(effect) = watch.poll_effect() {
                if let Effect::Frame { path, number } = effect {
                    frames.push((now.as_millis(), path));
                    watch.handle_sent(path, number);
                    let segment = path.1;
                    if let Some(word) = word {
                        watch.handle_message(path.0, Message { segment, number, word }, now);
                    }
                }
            }
        }
        (watch, frames)
    }

    #[test]
    fn a_path_is_asked_once_it_has_settled_and_every_five_seconds_then() {
        let times: Vec<u64> = sent(1, 1, 12_000, Some(Word::Arrived))
            .1
            .iter()
            .map(|it| it.0)
            .collect();
        assert_eq!(times, [1_000, 6_000, 11_000]);
    }

    #[test]
    fn a_host_sends_two_frames_a_second_at_most_and_sees_nine_peers_within_ten_however_many_segments_there_are() {
        for segments in [1, 20] {
            let (_, frames) = sent(9, segments, 60_000, Some(Word::Arrived));
            assert!(frames.windows(2).all(|pair| pair[0].0 + 500 <= pair[1].0), "{frames:?}");
            for peer in 2..11 {
                let of = frames.iter().filter(|(_, path)| path.0 == HostId(peer));
                let times: Vec<u64> = of.map(|it| it.0).chain([60_000]).collect();
                assert!(
                    times[0] <= 10_000 && times.windows(2).all(|pair| pair[1] - pair[0] <= 10_000),
                    "{times:?}"
                );
            }
        }
        // All of a peer's segments have their turn.
        let (_, frames) = sent(9, 20, 100_000, Some(Word::Arrived));
        let seen: std::collections::BTreeSet<Path> = frames.iter().map(|it| it.1).collect();
        assert_eq!(seen.len(), 180);
    }

    fn effects(watch: &mut PathWatch) -> Vec<Effect> {
        std::iter::from_fn(|| watch.poll_effect()).collect()
    }

    fn say(number: u64, word: Word) -> Message {
        Message {
            segment: BLUE,
            number,
            word,
        }
    }

    #[test]
    fn what_was_lost_is_asked_again_soon_and_once_it_is_blocked_at_the_usual_pace() {
        let (_, frames) = sent(1, 1, 13_000, Some(Word::Lost));
        let times: Vec<u64> = frames.iter().map(|it| it.0).collect();
        assert_eq!(times, [1_000, 2_000, 7_000, 12_000]);
    }

    #[test]
    fn a_peer_whose_every_segment_is_blocked_keeps_no_other_waiting() {
        let (mut watch, _) = sent(9, 20, 0, None);
        let mut seen: BTreeMap<HostId, Vec<u64>> = BTreeMap::new();
        while let Some(now) = watch.poll_timeout().filter(|now| *now <= at(300_000)) {
            watch.handle_timeout(now);
            for effect in effects(&mut watch) {
                let Effect::Frame {
                    path: (to, segment),
                    number,
                } = effect
                else {
                    continue;
                };
                seen.entry(to).or_default().push(now.as_millis());
                let word = if to == HostId(2) { Word::Lost } else { Word::Arrived };
                watch.handle_message(to, Message { segment, number, word }, now);
            }
        }
        for (host, times) in seen {
            let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(longest.is_some_and(|it| it <= 10_000), "{host} waits {longest:?} ms");
        }
    }

    /// The next frames, answered as `word` says.
    fn next(watch: &mut PathWatch, count: usize, word: impl Fn(Path) -> Word) -> Vec<Path> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let now = watch.poll_timeout().unwrap();
            watch.handle_timeout(now);
            for effect in effects(watch) {
                if let Effect::Frame { path, number } = effect {
                    frames.push(path);
                    let (segment, word) = (path.1, word(path));
                    watch.handle_message(path.0, Message { segment, number, word }, now);
                }
            }
        }
        frames
    }

    #[test]
    fn a_new_segment_has_the_next_turn_of_each_peer() {
        let (mut watch, _) = sent(9, 20, 100_000, Some(Word::Arrived));
        let new = SegmentId(99);
        let paths = watch
            .paths
            .keys()
            .copied()
            .chain((2..11).map(|host| (HostId(host), new)));
        let paths = paths.map(|path| (path, Duration::ZERO)).collect();
        watch.set_paths(&paths, at(100_000));
        let frames = next(&mut watch, 9, |_| Word::Arrived);
        let all = (2..11).map(|host| (HostId(host), new));
        assert_eq!(
            frames.into_iter().collect::<std::collections::BTreeSet<_>>(),
            all.collect()
        );
    }

    #[test]
    fn once_one_segment_gets_through_to_a_peer_its_other_blocked_ones_are_asked_first() {
        let (mut watch, _) = sent(2, 20, 60_000, Some(Word::Lost));
        let open = |path: Path| if path.0 == HostId(2) { Word::Arrived } else { Word::Lost };
        let frames = next(&mut watch, 22, open);
        let first = frames.iter().position(|path| path.0 == HostId(2)).unwrap();
        let other: Vec<usize> = (first..first + 20).filter(|at| frames[*at].0 != HostId(2)).collect();
        assert_eq!(other, [0; 0], "{frames:?}");
    }

    #[test]
    fn silence_says_nothing() {
        let (watch, frames) = sent(1, 1, 60_000, None);
        assert_eq!(frames.len(), 12);
        assert_eq!(watch.blocked().count(), 0);
    }

    /// A watch that has nothing to send itself.
    fn receiving() -> PathWatch {
        let mut watch = PathWatch::new(1);
        watch.set_paths(&BTreeMap::from([(PEER, Duration::from_secs(3600))]), at(0));
        watch
    }

    #[test]
    fn a_frame_is_answered_whether_it_comes_before_its_word_or_after_and_two_that_do_not_come_are_a_blocked_path() {
        let mut watch = receiving();
        let reply = |number, word| Effect::Say {
            to: HostId(2),
            message: say(number, word),
        };
        watch.handle_frame(PEER, 5);
        watch.handle_message(HostId(2), say(5, Word::Sent), at(0));
        assert_eq!(effects(&mut watch), [reply(5, Word::Arrived)]);
        watch.handle_message(HostId(2), say(6, Word::Sent), at(0));
        watch.handle_frame(PEER, 6);
        assert_eq!(effects(&mut watch), [reply(6, Word::Arrived)]);
        for (number, now) in [(7, 0), (8, 900)] {
            assert_eq!(watch.blocked().count(), 0);
            watch.handle_message(HostId(2), say(number, Word::Sent), at(now));
            watch.handle_timeout(at(now + 499));
            assert_eq!(effects(&mut watch), []);
            watch.handle_timeout(at(now + 500));
            assert_eq!(effects(&mut watch).last(), Some(&reply(number, Word::Lost)));
        }
        assert_eq!(watch.blocked().collect::<Vec<_>>(), [PEER]);
        watch.handle_frame(PEER, 9);
        watch.handle_message(HostId(2), say(9, Word::Sent), at(1_500));
        assert_eq!(effects(&mut watch), [Effect::Changed, reply(9, Word::Arrived)]);
        assert_eq!(watch.blocked().count(), 0);
    }

    #[test]
    fn who_was_late_itself_waits_for_the_frame_once_more() {
        let mut watch = receiving();
        watch.handle_message(HostId(2), say(7, Word::Sent), at(0));
        watch.handle_timeout(at(700));
        assert_eq!(effects(&mut watch), []);
        watch.handle_frame(PEER, 7);
        let arrived = Effect::Say {
            to: HostId(2),
            message: say(7, Word::Arrived),
        };
        assert_eq!(effects(&mut watch), [arrived]);
    }

    #[test]
    fn of_a_path_that_is_not_watched_nothing_is_said_nor_remembered() {
        let mut watch = receiving();
        for (number, now) in [(7, 0), (8, 900)] {
            watch.handle_message(HostId(2), say(number, Word::Sent), at(now));
            watch.handle_timeout(at(now + 500));
        }
        assert_eq!((watch.blocked().count(), effects(&mut watch).len()), (1, 3));
        watch.set_paths(&BTreeMap::new(), at(4_000));
        assert_eq!((watch.blocked().count(), watch.poll_timeout()), (0, None));
        watch.handle_frame(PEER, 9);
        watch.handle_message(HostId(2), say(9, Word::Sent), at(4_000));
        watch.handle_sent(PEER, 2);
        assert_eq!(effects(&mut watch), []);
    }
}
