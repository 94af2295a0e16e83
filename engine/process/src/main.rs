//! The process that serves plutino's user-space data plane.

use std::path::PathBuf;
use std::process::ExitCode;

use plutino_engine_core::control::server::Server;

const USAGE: &str = "usage: plutino-engine --socket PATH | --version";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    match words.as_slice() {
        ["--version"] => {
            println!("plutino-engine {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["--help"] => {
            println!("{USAGE}\n\nServes docs/engine-protocol.md; started by plutino.");
            ExitCode::SUCCESS
        }
        ["--socket", path] => serve(PathBuf::from(path)),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve(path: PathBuf) -> ExitCode {
    ignore_hangup();
    raise_descriptor_limit();
    let result = Server::bind(&path).and_then(|mut server| {
        let result = server.run();
        // The name goes before the process, so that who comes next finds no dead socket.
        let _ = std::fs::remove_file(&path);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plutino-engine: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// The engine outlives the terminal it was started from.
fn ignore_hangup() {
    // SAFETY: SIG_IGN is a valid disposition for SIGHUP.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Each queue of a device is a descriptor: as many as the hard limit allows, instead of the usual
/// 1,024. Where that fails, devices beyond the limit are refused.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is local and lives as long as both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
