//! The `coracle` program.

fn main() -> std::process::ExitCode {
    coracle::run(std::env::args_os()).into()
}
