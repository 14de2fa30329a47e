use std::collections::BTreeSet;

use cqrs_es::Aggregate;
use hansard_domain::account::{
    Account, DeactivationReason, Email, LoginMethod, MessageErasure, PasswordHash,
    PersonalAccessToken, Registration, Session, TokenHash,
};
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;

use strum::VariantNames;

use super::*;
use crate::testing::{Story, dump, on_both_engines, shredded, tables, told};

const TABLES: &[&str] = &["account", "account_role", "tally"];

fn profile(username: &str, name: &str, address: &str) -> AccountEvent {
    let profile = Profile {
        username: username.to_owned(),
        name: Some(name.to_owned()),
        emails: vec![Email {
            address: address.to_owned(),
            verified: false,
        }],
        ..Profile::default()
    };
    AccountEvent::UserProfileChanged {
        profile: Private::new(KeyId(1), profile),
    }
}

fn granted(role: &str) -> AccountEvent {
    AccountEvent::RoleGranted { role: role.into() }
}

fn three() -> Story {
    let mut story = Story::default();
    story.registered("a").registered("b").registered("c");
    story
        .account("a", profile("Mary", "Mary Älg", "mary@x.y"))
        .account("b", profile("joe", "Joe 100%", "joe@x.y"))
        .account("c", profile("ann", "Ann", "ann@mary.org"))
        .account("a", granted("admin"));
    story
}

async fn found(tables: &mut AnyConnection, filter: &Filter, page: &Page) -> Vec<String> {
    let (users, total) = list(tables, filter, page).await.unwrap();
    assert!(users.len() as u64 <= total);
    users.into_iter().map(|user| user.id.to_string()).collect()
}

fn search(text: &str, email: bool) -> Filter {
    let fields = SearchFields {
        username: true,
        name: true,
        email,
        ..SearchFields::default()
    };
    let text = text.to_owned();
    Filter {
        search: Some(Search { text, fields }),
        ..Filter::default()
    }
}

async fn accounts_are_found_by_any_part_of_a_name_whatever_its_case() {
    let mut tables = told(&Accounts, &three(), TABLES).await;
    let all = Page::default();
    assert_eq!(found(&mut tables, &search("MAR", false), &all).await, ["a"]);
    assert_eq!(found(&mut tables, &search("äLG", false), &all).await, ["a"]);
    assert_eq!(
        found(&mut tables, &search("100%", false), &all).await,
        ["b"]
    );
    assert_eq!(found(&mut tables, &search("%", false), &all).await, ["b"]);
    assert_eq!(
        found(&mut tables, &search("mary", true), &all).await,
        ["c", "a"]
    );
    let mary = by_username(&mut tables, "mARY").await.unwrap().unwrap();
    assert_eq!(mary.profile.username, "Mary");
}

async fn names_of_any_script_are_found_whatever_their_case() {
    let mut story = Story::default();
    for (id, username, name) in [
        ("a", "elodie", "Élodie"),
        ("b", "ОЛЬГА", "Ольга"),
        ("c", "straße", "Straße"),
        ("d", "strasse", "Strasse"),
    ] {
        story.registered(id);
        story.account(id, profile(username, name, "x@y.z"));
    }
    let mut tables = told(&Accounts, &story, TABLES).await;
    let all = Page::default();
    for (text, expected) in [
        ("ÉLO", vec!["a"]),
        ("e\u{301}lodie", vec!["a"]),
        ("ольга", vec!["b"]),
        ("STRASS", vec!["d", "c"]),
    ] {
        let mut found = found(&mut tables, &search(text, false), &all).await;
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
    for (username, expected) in [("ольга", "b"), ("STRASSE", "d"), ("Straße", "c")] {
        let found = by_username(&mut tables, username).await.unwrap().unwrap();
        assert_eq!(found.id.as_str(), expected, "{username}");
    }
}

async fn a_list_is_filtered_sorted_and_cut() {
    let mut story = three();
    story.account(
        "b",
        AccountEvent::UserLoggedIn {
            method: LoginMethod::Password,
            token: TokenHash("t".to_owned()),
            session: Session {
                since: story.now(),
                expires: None,
            },
            from: None,
        },
    );
    story.account("c", AccountEvent::UserActivated {});
    let mut tables = told(&Accounts, &story, TABLES).await;
    let by_name = Page::default();
    let everybody = Filter::default();
    assert_eq!(
        found(&mut tables, &everybody, &by_name).await,
        ["c", "b", "a"]
    );
    let last = Page {
        descending: true,
        limit: Some(1),
        offset: 1,
        ..by_name
    };
    assert_eq!(found(&mut tables, &everybody, &last).await, ["b"]);
    let by_login = Page {
        order: Order::LastLogin,
        descending: true,
        ..by_name
    };
    assert_eq!(found(&mut tables, &everybody, &by_login).await[0], "b");

    let admins = Filter {
        role: Some("admin".into()),
        ..Filter::default()
    };
    assert_eq!(found(&mut tables, &admins, &by_name).await, ["a"]);
    let seen = Filter {
        logged_in: Some(true),
        ..Filter::default()
    };
    assert_eq!(found(&mut tables, &seen, &by_name).await, ["b"]);
    let inactive = Filter {
        active: Some(false),
        ..Filter::default()
    };
    assert!(found(&mut tables, &inactive, &by_name).await.is_empty());
}

async fn a_revoked_role_is_gone_and_one_granted_twice_is_held_once() {
    let mut story = three();
    story
        .account("b", granted("bot"))
        .account("b", granted("bot"))
        .account(
            "a",
            AccountEvent::RoleRevoked {
                role: "admin".into(),
            },
        );
    let mut tables = told(&Accounts, &story, TABLES).await;
    assert_eq!(
        count_by_role(&mut tables, &"admin".into()).await.unwrap(),
        0
    );
    assert_eq!(count_by_role(&mut tables, &"bot".into()).await.unwrap(), 1);
}

async fn a_deleted_account_leaves_nothing_also_when_its_profile_was_shredded() {
    let mut story = Story::default();
    story.registered("a");
    story.account("a", profile("Mary", "Mary", "mary@x.y"));
    story.account("a", granted("admin"));
    story.account(
        "a",
        AccountEvent::UserDeleted {
            key: KeyId(1),
            messages: MessageErasure::default(),
        },
    );
    let mut live = told(&Accounts, &story, TABLES).await;
    assert!(all(&mut live).await.unwrap().is_empty());

    let mut replayed = tables(&Accounts, &shredded(&story.entries), 100).await;
    assert_eq!(
        dump(&mut replayed, TABLES).await,
        dump(&mut live, TABLES).await
    );
}

/// Everything that happens to an account that stays.
fn a_whole_life(story: &Story) -> Vec<AccountEvent> {
    use AccountEvent as E;
    let token = || TokenHash("one".to_owned());
    let key = KeyId(1);
    vec![
        E::UserRegistered {
            how: Registration::SelfService,
            kind: AccountKind::User,
            roles: vec!["user".into(), "bot".into()],
            active: false,
            reason: Some(Private::new(key, "let me in".to_owned())),
            password_change_required: true,
            profile: Private::new(key, Profile::default()),
            password: None,
            at: story.now(),
        },
        profile("Mary", "Mary Ann", "mary@x.y"),
        E::UserActivated {},
        E::UserPasswordChanged {
            password: Private::new(key, PasswordHash("hash".to_owned())),
            change_required: false,
        },
        E::UserPreferencesChanged {
            preferences: Private::new(key, [("a".to_owned(), 1.into())].into_iter().collect()),
        },
        E::UserPresenceChosen {
            presence: Presence::Busy,
        },
        granted("admin"),
        E::RoleRevoked {
            role: "user".into(),
        },
        E::UserLoggedIn {
            method: LoginMethod::Password,
            token: token(),
            session: Session {
                since: Timestamp(7),
                expires: None,
            },
            from: None,
        },
        E::LoginFailed {
            at: Timestamp(8),
            from: None,
            operation: None,
            by_email: false,
        },
        E::PersonalAccessTokenCreated {
            name: Private::new(key, "ci".to_owned()),
            token: PersonalAccessToken {
                hash: TokenHash("two".to_owned()),
                created: Timestamp(9),
                last_six: "abcdef".to_owned(),
                bypass_two_factor: false,
            },
        },
        E::PersonalAccessTokenRemoved {
            hash: TokenHash("two".to_owned()),
        },
        E::UserLoggedOut { token: token() },
        E::SessionsEnded {
            kept: None,
            personal_access_tokens: true,
        },
        E::UserDeactivated {
            reason: DeactivationReason::Idle,
        },
    ]
}

async fn an_account_as_it_was_decided_is_what_the_view_shows() {
    let mut story = Story::default();
    let mut account = Account::default();
    let id = UserId::new("a");
    let life = a_whole_life(&story);
    let lived: BTreeSet<_> = life.iter().map(<&str>::from).collect();
    let possible = AccountEvent::VARIANTS.iter().copied();
    let staying: BTreeSet<_> = possible.filter(|event| *event != "UserDeleted").collect();
    assert_eq!(lived, staying, "every event that leaves an account");
    let mut updated = Timestamp::default();
    for event in life {
        account.apply(event.clone());
        story.account("a", event);
        let latest = std::slice::from_ref(story.entries.last().unwrap());
        updated = changed_at(latest, &id).unwrap_or(updated);
        let mut tables = tables(&Accounts, &story.entries, 100).await;
        let mut shown = by_id(&mut tables, &id).await.unwrap().unwrap();
        // Who never chose is shown as offline.
        shown.status = shown.status.or(Some(Presence::Offline));
        assert_eq!(User::of(&id, &account, updated), shown);
    }
}

on_both_engines!(
    an_account_as_it_was_decided_is_what_the_view_shows,
    accounts_are_found_by_any_part_of_a_name_whatever_its_case,
    names_of_any_script_are_found_whatever_their_case,
    a_list_is_filtered_sorted_and_cut,
    a_revoked_role_is_gone_and_one_granted_twice_is_held_once,
    a_deleted_account_leaves_nothing_also_when_its_profile_was_shredded,
    what_the_index_finds_is_what_a_walk_finds,
    nothing_of_a_name_that_was_changed_or_erased_is_found,
);

async fn what_the_index_finds_is_what_a_walk_finds() {
    let mut story = Story::default();
    for (id, username, name) in [
        ("a", "maria.lopez", "María López"),
        ("b", "mario", "Mario \"Lo\" Rossi"),
        ("c", "ana_maria", "Ana 100%"),
        ("d", "lopezz", "ΟΔΟΣ"),
        ("e", "x", "mar"),
        (
            "f",
            "aaaaaaaaaaaaaaaaaaaaaaaab",
            "aaaaaaaaaaaaaaaaaaaaaaaac",
        ),
        (
            "g",
            "aaaaaaaaaaaaaaaaaaaaaaaac",
            "Somebody with a long name, and more",
        ),
    ] {
        story.registered(id);
        story.account(id, profile(username, name, &format!("{username}@mar.org")));
    }
    story
        .account(
            "b",
            AccountEvent::UserDeactivated {
                reason: DeactivationReason::ByAdministrator,
            },
        )
        .account("d", profile("renamed", "Somebody", "d@e.f"));
    let mut tables = told(&Accounts, &story, TABLES).await;
    let page = Page::default();
    for text in [
        "mar",
        "MARI",
        "lop",
        "lópez",
        "\"lo\"",
        "100%",
        "a_m",
        "οδοσ",
        "mar.org",
        "org",
        "ren",
        "zzz",
        "mario",
        ".lo",
        " 10",
        "act",
        "usr",
        "aaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaac",
        "with a long name, an",
        "with a long name, ax",
    ] {
        for active in [None, Some(true), Some(false)] {
            for email in [false, true] {
                let filter = Filter {
                    active,
                    ..search(text, email)
                };
                let (users, total) = list(&mut tables, &filter, &page).await.unwrap();
                let pattern = crate::folding::containing(text);
                let walked = sqlx::query(
                    "SELECT id FROM account WHERE (username LIKE $1 ESCAPE '\\' \
                     OR name LIKE $1 ESCAPE '\\' OR $2 = 1 AND email LIKE $1 ESCAPE '\\') \
                     AND active BETWEEN $3 AND $4 ORDER BY username, id /* walks account: a test */",
                )
                .bind(&pattern)
                .bind(i64::from(email))
                .bind(active.map_or(0, i64::from))
                .bind(active.map_or(1, i64::from))
                .fetch_all(&mut tables)
                .await
                .unwrap();
                let walked: Vec<String> = walked.iter().map(|row| row.get(0)).collect();
                let ids: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
                assert_eq!(ids, walked, "{text} {active:?} {email}");
                assert_eq!(total, walked.len() as u64, "{text} {active:?} {email}");
                let first = Page {
                    limit: Some(1),
                    ..page
                };
                let first = some(&mut tables, &filter, &first).await.unwrap();
                let first: Vec<_> = first.iter().map(|user| user.id.as_str()).collect();
                assert_eq!(first, ids[..ids.len().min(1)], "{text} {active:?} {email}");
                assert_eq!(
                    paged(&mut tables, &filter).await,
                    walked,
                    "{text} {active:?} {email}"
                );
            }
        }
    }
}

/// All that pass a filter, as a client meets them that goes on as long as the total says.
async fn paged(tables: &mut AnyConnection, filter: &Filter) -> Vec<String> {
    let mut met = Vec::new();
    loop {
        let page = Page {
            offset: met.len() as u64,
            limit: Some(2),
            ..Page::default()
        };
        let (users, total) = list(tables, filter, &page).await.unwrap();
        met.extend(users.iter().map(|user| user.id.to_string()));
        if users.is_empty() || met.len() as u64 == total {
            return met;
        }
    }
}

async fn nothing_of_a_name_that_was_changed_or_erased_is_found() {
    let mut story = Story::default();
    let ids: Vec<String> = (0..150).map(|number| format!("u{number}")).collect();
    let mut number = 7_usize;
    let mut next = move |most: usize| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (number >> 33) % most
    };
    // Names of one letter over and over have long lists of places.
    let mut name = move || ["a", "b", "c"][next(3)].repeat(3 + next(250));
    for id in &ids {
        story.registered(id);
        story.account(id, profile(&name(), &name(), "x@y.z"));
    }
    for id in ids.iter().cycle().take(600) {
        story.account(id, profile(&name(), &name(), "x@y.z"));
    }
    for id in &ids[..50] {
        let deleted = AccountEvent::UserDeleted {
            key: KeyId(1),
            messages: MessageErasure::Keep,
        };
        story.account(id, deleted);
    }
    let mut tables = tables(&Accounts, &story.entries, 5).await;
    for text in ["aaa", "bbb", "ccc"] {
        let filter = search(text, false);
        let (users, total) = list(&mut tables, &filter, &Page::default()).await.unwrap();
        assert_eq!(users.len() as u64, total, "{text}");
        let has = |user: &User| {
            let profile = &user.profile;
            profile.username.contains(text) || profile.name.as_ref().unwrap().contains(text)
        };
        assert!(users.iter().all(has), "{text}");
        let everybody = all(&mut tables).await.unwrap();
        let having = everybody.iter().filter(|user| has(user)).count();
        assert_eq!(having as u64, total, "{text}");
    }
}
