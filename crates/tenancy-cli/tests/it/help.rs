//! The help of commands, word for word: what people read is changed on purpose or not at all.

use crate::support::Workplace;

#[test]
fn the_help_of_commands_is_what_was_agreed() {
    let mut place = Workplace::new();
    place.set("COLUMNS", "100");
    for (command, agreed) in [
        ("migrate", include_str!("help/migrate.txt")),
        ("rollback", include_str!("help/rollback.txt")),
        ("run", include_str!("help/run.txt")),
        ("psql", include_str!("help/psql.txt")),
        ("doctor", include_str!("help/doctor.txt")),
        ("pending", include_str!("help/pending.txt")),
        ("seed", include_str!("help/seed.txt")),
        ("cache", include_str!("help/cache.txt")),
    ] {
        let help = place.done(&[command, "--help"]);
        if std::env::var_os("AGREE").is_some() {
            let file = format!("{}/tests/it/help/{command}.txt", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(file, &help).unwrap();
        } else {
            // With AGREE=1, it is written to the file.
            assert_eq!(help, agreed, "tests/it/help/{command}.txt");
        }
    }
}
