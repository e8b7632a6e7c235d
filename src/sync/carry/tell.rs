//! What a step is called when it is done, and what a dry run tells instead of doing it.

use crate::replica::Kind;
use crate::side::Side;
use crate::sync::event::{Deed, Event, Resolved, Totals};
use crate::sync::plan::aside::Aside;
use crate::sync::plan::status::Status;
use crate::sync::plan::{Plan, Step, Todo};

/// Tells what would be done, and counts it.
pub fn tell_plan(plan: &Plan, tell: &mut dyn FnMut(Event<'_>)) -> Totals {
    let mut totals = plan.totals;
    for side in Side::BOTH {
        (
            *totals.files_written.of_mut(side),
            *totals.bytes_written.of_mut(side),
        ) = plan.copies_to(side);
    }
    let tell = &mut |event: Event<'_>| {
        if let Event::Entry { kind, deed, .. } = event {
            count(&mut totals, kind, deed);
        }
        tell(event);
    };
    for aside in &plan.asides {
        tell(Event::Entry {
            path: &plan.path_aside(aside, &aside.name),
            kind: aside.kind,
            deed: moved_aside(aside),
        });
    }
    for dir in &plan.dirs {
        let path = &dir.paths.local;
        let mut tell_dir = |deed| {
            tell(Event::Entry {
                path,
                kind: Kind::Dir,
                deed,
            });
        };
        if let Some(side) = dir.make_on {
            tell_dir(made(side));
        }
        if dir.moved_from.is_some() {
            tell_dir(Deed::Renamed { from: Side::Local });
        }
        for respelling in &dir.respellings {
            tell(Event::Entry {
                path: &path.join(respelling.name()),
                kind: Kind::File,
                deed: Deed::Renamed {
                    from: respelling.by,
                },
            });
        }
        for step in &dir.steps {
            if let Some(deed) = deed_of(step) {
                let path = path.join(step.name_on(Side::Local));
                tell(Event::Entry {
                    path: &path,
                    kind: Kind::File,
                    deed,
                });
            }
        }
        if let Some((on, why)) = dir.remove_on {
            tell(Event::Entry {
                path,
                kind: Kind::Dir,
                deed: Deed::Deleted { on, why },
            });
        }
    }
    totals
}

/// Counts what is no copy of a file.
const fn count(totals: &mut Totals, kind: Kind, deed: Deed) {
    match (kind, deed) {
        (Kind::Dir, Deed::Copied { .. }) => totals.dirs_created += 1,
        (Kind::Dir, Deed::Deleted { .. }) => totals.dirs_deleted += 1,
        (_, Deed::Deleted { .. } | Deed::Resolved(Resolved::Deleted { .. })) => {
            totals.files_deleted += 1;
        }
        (_, Deed::Renamed { .. }) => totals.renamed += 1,
        (
            _,
            Deed::Equal
            | Deed::Recorded
            | Deed::Visited
            | Deed::Copied { .. }
            | Deed::PutBack { .. }
            | Deed::Forgotten
            | Deed::Resolved(
                Resolved::Copied { .. }
                | Resolved::Restored { .. }
                | Resolved::KeptBoth { .. }
                | Resolved::MovedAside { .. },
            )
            | Deed::ConflictSkipped
            | Deed::Skipped(_),
        ) => {}
    }
}

pub(super) const fn moved_aside(aside: &Aside) -> Deed {
    Deed::Resolved(Resolved::MovedAside { loser: aside.on })
}

pub(super) const fn made(on: Side) -> Deed {
    Deed::Copied {
        from: on.peer(),
        status: Status::New,
        bytes: 0,
    }
}

/// What a step is called when it is done; none for what was told when it was decided.
pub(super) fn deed_of(step: &Step) -> Option<Deed> {
    let bytes = |side: Side| step.stat_on(side).map_or(0, |stat| stat.size);
    match step.todo {
        Todo::Record { .. } | Todo::RenamedAway | Todo::Forget { is_gone: false } => None,
        Todo::Forget { is_gone: true } => Some(Deed::Forgotten),
        Todo::Rename { by, .. } => Some(Deed::Renamed { from: by }),
        Todo::Copy {
            from,
            status,
            is_resolution: false,
            ..
        } => Some(Deed::Copied {
            from,
            status,
            bytes: bytes(from),
        }),
        Todo::Copy {
            from,
            is_resolution: true,
            ..
        } => Some(Deed::Resolved(match step.stat_on(from.peer()) {
            Some(_) => Resolved::Copied {
                from,
                bytes: bytes(from),
            },
            None => Resolved::Restored {
                from,
                bytes: bytes(from),
            },
        })),
        Todo::Delete {
            on,
            why,
            is_resolution: false,
        } => Some(Deed::Deleted { on, why }),
        Todo::Delete {
            on,
            is_resolution: true,
            ..
        } => Some(Deed::Resolved(Resolved::Deleted { on })),
        Todo::KeepBoth { winner } => Some(Deed::Resolved(Resolved::KeptBoth { winner })),
    }
}
