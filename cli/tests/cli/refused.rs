//! What goes wrong is told on stderr, with a hint, and has its exit status.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::ASKING;
use crate::fake::{Agent, Mood, Ran, overlayctl};

#[test]
fn errors_in_the_file_are_told_with_their_place() {
    let agent = Agent::start(Mood::Formed);
    std::fs::write(agent.folder().join("bad.yaml"), "segments: [{gateway: 10.0.0.1}]\n").unwrap();
    let ran = agent.run(&["apply", "-f", "bad.yaml"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ran.stderr,
        "\
error: bad.yaml:5:16: segments[0].ipv4.gateway: 10.0.0.1 is outside the subnet 192.168.124.0/24
hint: leave it out: the first address is the default
error: bad.yaml: the file has no segment that could be read
2 errors; nothing was applied
"
    );
    let ran = agent.run(&["apply", "-f", "bad.yaml", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.status, Some(1));
    assert_eq!(json["applied"], false);
    assert_eq!(json["errors"][0]["line"], 5);
    assert_eq!(json["errors"][1]["line"], serde_json::Value::Null);
    assert_eq!(
        error(&ran),
        (
            "bad.yaml: 2 errors; nothing was applied".to_owned(),
            serde_json::Value::Null
        )
    );
}

/// What an error is as JSON: what is wrong, and the hint.
fn error(ran: &Ran) -> (String, serde_json::Value) {
    let json: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|_| panic!("{}", ran.stderr));
    (
        json["error"]["message"].as_str().unwrap().to_owned(),
        json["error"]["hint"].clone(),
    )
}

#[test]
fn a_file_that_is_not_there_is_told_before_the_agent_is_asked() {
    let ran = Ran::from(
        overlayctl(&["apply", "-f", "/nonexistent.yaml", "--socket", "/nonexistent"])
            .output()
            .unwrap(),
    );
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ran.stderr,
        "error: cannot read /nonexistent.yaml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_refusal_is_told_with_its_hint() {
    let agent = Agent::start(Mood::Refusing);
    for arguments in ASKING {
        let ran = agent.run(arguments);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert_eq!(
            ran.stderr,
            "\
error: segment blue: guests would lose 4 attached ports
  blue: port tap0 on hv1, guest 52:54:00:aa:bb:01
  and 3 more
hint: detach them, or give --force
",
            "{arguments:?}"
        );
    }
    let ran = Agent::start(Mood::RefusingInUnicode).run(&["leave"]);
    assert!(ran.stderr.ends_with("hint: hv1 → hv2\n"), "{}", ran.stderr);
}

#[test]
fn in_json_a_refusal_is_an_error_with_its_hint_and_what_would_be_lost() {
    let ran = Agent::start(Mood::Refusing).run(&["segment", "delete", "blue", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    let error = &json["error"];
    assert_eq!(error["message"], "segment blue: guests would lose 4 attached ports");
    assert_eq!(error["hint"], "detach them, or give --force");
    assert_eq!(error["more_losses"], 3);
    let loss = &error["losses"][0];
    assert_eq!(
        [
            &loss["segment"],
            &loss["kind"],
            &loss["host"],
            &loss["port"],
            &loss["mac"]
        ],
        ["blue", "port", "hv1", "tap0", "52:54:00:aa:bb:01"]
    );
    let unreachable = overlayctl(&["leave", "--socket", "/nonexistent", "-o", "json"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&unreachable.stderr).unwrap();
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(
        json["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("systemctl status overlayd")
    );
}

#[test]
fn no_agent_is_its_own_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let run = || {
        Ran::from(
            overlayctl(&["status", "--socket", socket.to_str().unwrap()])
                .output()
                .unwrap(),
        )
    };
    let check = |why: &str| {
        let ran = run();
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(3), ""), "{why}");
        let (error, hint) = ran.stderr.split_once('\n').unwrap();
        assert!(
            error.starts_with("error: ") && error.contains(socket.to_str().unwrap()),
            "{}",
            ran.stderr
        );
        assert!(
            hint.starts_with("hint: check that overlayd runs") && hint.contains("--socket"),
            "{}",
            ran.stderr
        );
    };
    check("no such file");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    check("nobody listens");
}

#[test]
fn a_socket_that_is_not_for_us_names_the_group() {
    let agent = Agent::start(Mood::Formed);
    std::fs::set_permissions(agent.folder(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(agent.socket(), Permissions::from_mode(0o000)).unwrap();
    // A copy, as the build folder may be closed to the user below; made by another process, as a program that is open
    // for writing in this one, or in what other tests fork from it, cannot be run.
    let copy = agent.folder().join("overlayctl");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_overlayctl"))
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    let mut command = Command::new(copy);
    command.arg("status").env("OVERLAYD_SOCKET", agent.socket());
    if std::fs::metadata(agent.folder()).unwrap().uid() == 0 {
        // Root may open every socket: run as nobody.
        command.uid(65534);
    }
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("hint: only root and members of group overlayd may use the socket"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_agent_that_goes_away_is_not_reachable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // Takes connections and closes each at once, as an agent that dies does.
    let dying = std::thread::spawn(move || {
        for _ in 0..2 {
            drop(listener.accept());
        }
    });
    let ran = Ran::from(
        overlayctl(&["plan", "--socket", socket.to_str().unwrap()])
            .output()
            .unwrap(),
    );
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(3), ""), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("did not respond") && ran.stderr.contains("hint: "),
        "{}",
        ran.stderr
    );
    dying.join().unwrap();
}

#[test]
fn wrong_usage_is_its_own_exit_status() {
    let wrong: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["peer"],
        &["join"],
        &["apply"],
        &["status", "-o", "xml"],
        &["status", "-q", "-v"],
        &["lease", "release", "no-address"],
        &["peer", "add", "192.0.2.1", "--segment", "blue"],
    ];
    for arguments in wrong {
        let ran = Ran::from(overlayctl(arguments).output().unwrap());
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains("--help"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn the_option_wins_over_the_environment() {
    let agent = Agent::start(Mood::Formed);
    let mut command = overlayctl(&["undrain", "--socket", agent.socket().to_str().unwrap()]);
    assert!(
        command
            .env("OVERLAYD_SOCKET", "/nonexistent")
            .output()
            .unwrap()
            .status
            .success()
    );
}
