//! Two folders kept in step from a program of your own, with lock, journal and archive: `library LOCAL REMOTE`.

use coracle::job::{Direction, Job, Location};
use coracle::sync::event::Event;

fn main() {
    let mut folders = std::env::args().skip(1);
    let (local, remote) = folders
        .next()
        .zip(folders.next())
        .expect("library LOCAL REMOTE");
    let job = Job::new(Direction::Sync, local, Location::Path(remote.into()));
    let mut tell = |event: Event<'_>| match event {
        Event::Entry { path, deed, .. } => println!("{path}: {deed:?}"),
        Event::Failed { path, error } => eprintln!("{path}: {error}"),
        _ => {}
    };
    let done = coracle::Run::of(&job)
        .start(&mut tell, None)
        .expect("nothing was changed");
    println!(
        "{} files copied",
        done.totals.files_written.local + done.totals.files_written.remote
    );
}
