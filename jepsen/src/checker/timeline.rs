//! The begins and ends of operations that are not yet in the order, as a linked list: taking one
//! out and putting it back costs the same however long the history is.

use crate::history::Operation;

#[derive(Clone, Copy, Debug)]
struct Event {
    operation: usize,
    is_end: bool,
    index: u64,
}

#[derive(Debug)]
pub(super) struct Timeline {
    /// Sorted; an event's links have its place plus one, as place 0 of the links is the anchor.
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    begin_of: Vec<usize>,
    end_of: Vec<usize>,
}

impl Timeline {
    /// Of operations with known ends.
    pub(super) fn new<I, O>(operations: &[&Operation<I, O>]) -> Self {
        let mut events = Vec::with_capacity(2 * operations.len());
        for (operation, details) in operations.iter().enumerate() {
            events.push(Event {
                operation,
                is_end: false,
                index: details.invoked.index,
            });
            events.push(Event {
                operation,
                is_end: true,
                index: details.ended().map_or(u64::MAX, |at| at.index),
            });
        }
        // A begin and an end at the same moment are concurrent: the begin first.
        events.sort_by_key(|event| (event.index, event.is_end));
        let places = events.len() + 1;
        let mut timeline = Self {
            next: (0..places).map(|place| (place + 1) % places).collect(),
            previous: (0..places)
                .map(|place| (place + places - 1) % places)
                .collect(),
            begin_of: vec![0; operations.len()],
            end_of: vec![0; operations.len()],
            events,
        };
        for (place, event) in timeline.events.iter().enumerate() {
            let of = if event.is_end {
                &mut timeline.end_of
            } else {
                &mut timeline.begin_of
            };
            of[event.operation] = place + 1;
        }
        timeline
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next[0] == 0
    }

    /// Operations that may be next: those that began before the first end. With that end's index.
    pub(super) fn front(&self) -> (Vec<usize>, u64) {
        let mut open = Vec::new();
        let mut place = self.next[0];
        while place != 0 {
            let event = self.events[place - 1];
            if event.is_end {
                return (open, event.index);
            }
            open.push(event.operation);
            place = self.next[place];
        }
        (open, u64::MAX)
    }

    pub(super) fn take(&mut self, operation: usize) {
        self.unlink(self.begin_of[operation]);
        self.unlink(self.end_of[operation]);
    }

    /// Puts back the operation that was taken last.
    pub(super) fn put_back(&mut self, operation: usize) {
        self.link(self.end_of[operation]);
        self.link(self.begin_of[operation]);
    }

    fn unlink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }
}
