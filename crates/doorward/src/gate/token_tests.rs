//! Connections that were opened with a token, over real parts (rule 9, S8).

use std::time::Duration;

use doorward_core::ask::{Ask, GivenPassword, Verdict};
use doorward_core::identity::person::Right;
use doorward_core::identity::policy::AuthSystem;

use super::Origin;
use super::acting_tests::{ALL, look, program, token};
use super::testing::{GOOD, World, origin, secret, world};

const NEW: &str = "quite another long password";

/// A connection on which somebody has logged in with a token.
async fn opened(world: &World, token: &str) -> Origin {
    let origin = origin(7);
    let login = Ask::TokenLogin { userid: "julian".to_owned(), token: secret(token) };
    assert!(matches!(world.gate.ask(login, &origin).await, Verdict::Granted(_)));
    origin
}

#[tokio::test]
async fn s8_rule_9_a_connection_that_a_token_opened_ends_with_it() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    let id = world.person("julian", AuthSystem::Password, false).await.id;
    let own = origin(8);
    let login = Ask::Login { userid: "julian".to_owned(), password: clear(GOOD), code: None };
    assert!(matches!(world.gate.ask(login, &own).await, Verdict::Granted(_)));
    let (first, second) =
        (token(&world, program, "julian", None).await, token(&world, program, "julian", None).await);
    let (ended, other) = (opened(&world, &first).await, opened(&world, &second).await);
    assert!(matches!(look(&world, program, &first, true).await, Verdict::TokenKnown { .. }));
    assert!(ended.connection.is_ended(), "revoked");
    assert!(!other.connection.is_ended());
    let change = Ask::PasswordChange { person: id, present: clear(GOOD), new: clear(NEW) };
    assert!(matches!(world.gate.ask(change, &own).await, Verdict::PasswordChanged { .. }));
    assert!(other.connection.is_ended(), "another password");
    assert!(!own.connection.is_ended(), "no token opened it");
}

#[tokio::test]
async fn s8_rule_9_a_connection_that_a_token_opened_ends_with_its_time() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token, Right::TokenOnPassword]).await;
    world.person("julian", AuthSystem::Password, false).await;
    let opened = opened(&world, &token(&world, program, "julian", None).await).await;
    let wait = |s| {
        world.clock.advance(Duration::from_secs(s));
        world.gate.clock_moved();
    };
    wait(12 * 3_600 - 10);
    world.gate.tick().await;
    assert!(!opened.connection.is_ended());
    wait(11);
    world.gate.tick().await;
    assert!(opened.connection.is_ended());
}

fn clear(text: &str) -> GivenPassword {
    GivenPassword::Clear(secret(text))
}
