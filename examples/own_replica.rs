//! A kind of replica of one's own, known to the archive by a name of one's own: `own_replica LOCAL` keeps a folder in step with a
//! tree in memory, changes that, and brings the change back.

#[path = "../tests/support/memory.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is made for the tests, which use more of it"
)]
mod memory;

use coracle::job::{Direction, Job, Location};
use coracle::replica::Replica;
use memory::{Node, Tree};

fn main() {
    let local = std::env::args().nth(1).expect("own_replica LOCAL");
    let tree = Tree::new();
    let connect = || Ok(Box::new(tree.target()) as Box<dyn Replica>);
    let job = Job::new(Direction::Sync, local, Location::Path("/nowhere".into()));
    let run = coracle::Run::of(&job).with_remote(&connect, "memory://example");
    let sync = || {
        run.start(&mut |_| {}, None).expect("nothing was changed");
    };
    sync();
    tree.put("note.txt", Node::file("low tide at six", 1_700_000_000));
    sync();
}
