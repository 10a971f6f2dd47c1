//! The `esker` command. Everything is in the library; this only hands over.

fn main() -> std::process::ExitCode {
    esker_server::main()
}
