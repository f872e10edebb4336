//! What reaches the agent, and what is told about what it did.

use std::io::{BufRead as _, Write as _};
use std::process::Stdio;

use crate::check;
use crate::fake::{Agent, Mood};

#[test]
fn what_was_done_is_told_on_stderr() {
    let agent = Agent::start(Mood::Formed);
    let told: &[(&[&str], &str)] = &[
        (
            &["join", "192.0.2.12"],
            "\
warning: segment blue of this host gave way to the cluster's
joined cluster 00000000000000c1 through hv2; it now has 3 hosts
",
        ),
        (&["leave"], "left the cluster\n"),
        (&["peer", "add", "192.0.2.12"], "hv2 joined the cluster\n"),
        (
            &["peer", "add", "192.0.2.60", "--static"],
            "\
added static peer 192.0.2.60: in the flood list of blue
",
        ),
        (
            &["peer", "remove", "hv3"],
            "\
its ranges in blue go to the other hosts: `overlayctl pool show`
removed hv3
",
        ),
        (
            &["segment", "delete", "blue"],
            "\
warning: lost: blue: port tap0 on hv1, guest 52:54:00:aa:bb:01
warning: the bridge on this host stays until its guest ports are gone: tap0
deleted segment blue
",
        ),
        (
            &["gateway", "move", "blue", "hv2"],
            "blue: now on hv2, term 8 (was on hv1)\n",
        ),
        (
            &["drain"],
            "\
warning: no other host can take green: this host remains the active gateway
blue: now on hv2, term 8
drained: this host accepts no gateway while another host can, until `overlayctl undrain`
",
        ),
        (&["apply", "confirm"], "confirmed: blue, green\n"),
        (&["undrain"], "this host is eligible as gateway again\n"),
        (
            &["lease", "release", "192.168.124.16"],
            "released 192.168.124.16 of 52:54:00:aa:bb:01\n",
        ),
        (
            &["pool", "recover"],
            "recovered: this host owns every address that had no owner; new leases start within 3718 s (see \
             `overlayctl pool show`)\n",
        ),
    ];
    for (arguments, expected) in told {
        let ran = check(&agent, arguments, "");
        assert_eq!(ran.stderr, *expected, "{arguments:?}");
    }
}

#[test]
fn init_prints_the_join_line_alone_on_stdout() {
    let line = "overlayctl join 192.0.2.11:7480\n";
    let first = check(&Agent::start(Mood::Unformed), &["init"], line);
    assert_eq!(
        first.stderr,
        "formed cluster 00000000000000c1; on each of the other hosts run:\n"
    );
    let again = check(&Agent::start(Mood::Formed), &["init"], line);
    assert_eq!(
        again.stderr,
        "this host is already in cluster 00000000000000c1; on each of the other hosts run:\n"
    );
}

#[test]
fn the_last_member_is_told_that_its_cluster_ended() {
    let ran = check(&Agent::start(Mood::Unformed), &["leave", "-v"], "");
    assert!(ran.stderr.contains("this host was its last member"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ip link del vx-blue"), "{}", ran.stderr);
}

#[test]
fn arguments_reach_the_agent() {
    let agent = Agent::start(Mood::Formed);
    let requests: &[(&[&str], &str)] = &[
        (
            &["join", "192.0.2.12:7481", "--token", "t"],
            r#"JoinRequest { address: "192.0.2.12:7481", token: Some("t"), force: false }"#,
        ),
        (&["leave", "--force"], "LeaveRequest { force: true }"),
        (
            &["peer", "add", "192.0.2.12"],
            r#"PeerAddRequest { address: "192.0.2.12" }"#,
        ),
        (
            &["peer", "add", "192.0.2.60", "--static", "--segment", "blue"],
            r#"PeerAddStaticRequest { address: "192.0.2.60", segment: Some("blue") }"#,
        ),
        (&["peer", "remove", "hv3"], r#"PeerRemoveRequest { name: "hv3" }"#),
        (&["segment", "show", "blue"], r#"SegmentShowRequest { name: "blue" }"#),
        (
            &["segment", "delete", "blue"],
            r#"SegmentDeleteRequest { name: "blue", force: false }"#,
        ),
        (
            &["segment", "delete", "blue", "--force"],
            r#"SegmentDeleteRequest { name: "blue", force: true }"#,
        ),
        (
            &["gateway", "move", "blue"],
            r#"GatewayMoveRequest { segment: "blue", host: None }"#,
        ),
        (
            &["gateway", "move", "blue", "hv2"],
            r#"GatewayMoveRequest { segment: "blue", host: Some("hv2") }"#,
        ),
        (&["lease", "list"], "LeaseListRequest { segment: None, all: false }"),
        (
            &["lease", "list", "blue", "--all"],
            r#"LeaseListRequest { segment: Some("blue"), all: true }"#,
        ),
        (
            &["lease", "release", "192.168.124.16", "--segment", "blue"],
            r#"LeaseReleaseRequest { address: "192.168.124.16", segment: Some("blue"), force: false }"#,
        ),
        (
            &["pool", "show", "blue"],
            r#"PoolShowRequest { segment: Some("blue") }"#,
        ),
        (
            &["endpoint", "list", "blue"],
            r#"EndpointListRequest { segment: Some("blue") }"#,
        ),
    ];
    for (arguments, expected) in requests {
        assert_eq!(agent.run(arguments).status, Some(0), "{arguments:?}");
        assert_eq!(
            agent.asked().last().map(String::as_str),
            Some(*expected),
            "{arguments:?}"
        );
    }
}

#[test]
fn apply_sends_the_text_and_shows_the_change_of_each_segment() {
    let agent = Agent::start(Mood::Formed);
    std::fs::write(agent.folder().join("segments.yaml"), "segments: []\n").unwrap();
    let change = "\
blue: changed (generation 4)
  ipv4.dhcp.lease_time: 1h → 2h
  dns.domain: blue.internal → (unset)
green: added (generation 1)
  vni: 20
red: unchanged (generation 9)
";
    let ran = check(&agent, &["apply", "-f", "segments.yaml"], change);
    assert_eq!(
        ran.stderr,
        "warning: hv3 does not respond: whether something listens on tcp/22 there is unknown\n\
         warning: pending: 192.168.124.10 for 52:54:00:aa:bb:cc waits for hv3\n"
    );
    let ran = check(
        &agent,
        &["apply", "-f", "segments.yaml", "--dry-run", "--force"],
        change,
    );
    assert!(ran.stderr.ends_with("dry run: nothing was changed\n"), "{}", ran.stderr);
    let request = |flags: &str| format!(r#"ApplyRequest {{ file: "segments.yaml", text: "segments: []\n", {flags} }}"#);
    assert_eq!(
        agent.asked(),
        [
            request("dry_run: false, force: false, confirm_seconds: None"),
            request("dry_run: true, force: true, confirm_seconds: None")
        ]
    );
}

#[test]
fn apply_reads_standard_input() {
    let agent = Agent::start(Mood::Formed);
    let mut command = agent.command(&["apply", "-f", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"segments: [piped]\n").unwrap();
    assert!(child.wait().unwrap().success());
    let expected = r#"ApplyRequest { file: "<stdin>", text: "segments: [piped]\n", dry_run: false, force: false, confirm_seconds: None }"#;
    assert_eq!(agent.asked(), [expected]);
}

#[test]
fn who_is_a_member_already_is_told_and_that_is_no_failure() {
    let agent = Agent::start(Mood::Member);
    let joined = check(&agent, &["join", "192.0.2.12"], "");
    assert_eq!(
        joined.stderr,
        "hv2 is a member already: it is in this host's cluster 00000000000000c1, which has 3 hosts\n"
    );
    let added = check(&agent, &["peer", "add", "192.0.2.12"], "");
    assert_eq!(added.stderr, "hv2 is a member already\n");
}

#[test]
fn a_join_that_takes_longer_says_so_and_ends_as_it_ends_after_ctrl_c() {
    let agent = Agent::start(Mood::Slow);
    let mut command = agent.command(&["join", "192.0.2.12"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(line(), "joining through 192.0.2.12 …\n");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    assert_eq!(line(), "giving up, unless a member has let this host in already\n");
    assert!(line().contains("gave way"));
    assert_eq!(
        line(),
        "joined cluster 00000000000000c1 through hv2; it now has 3 hosts\n"
    );
    assert!(child.wait().unwrap().success());
    assert!(agent.asked().contains(&"JoinCancelRequest".to_owned()));
}
