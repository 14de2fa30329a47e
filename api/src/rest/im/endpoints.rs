//! The operations of direct conversations. What they do stands in the module above.

use super::*;

/// They are there as `im.*` and as `dm.*`.
pub const OPERATIONS: [Operation; 12] = [
    CREATE_DIRECT,
    DELETE_DIRECT,
    OPEN_DIRECT,
    CLOSE_DIRECT,
    CHANGE_TOPIC,
    LIST_DIRECTS,
    LIST_EVERYONES,
    LIST_MEMBERS,
    DIRECT_COUNTERS,
    DIRECT_HISTORY,
    DIRECT_MESSAGES,
    OTHERS_MESSAGES,
];

pub const CREATE_DIRECT: Operation = Operation::post("im.create", &create_direct)
    .tells("Opens a direct conversation, or answers the one that there is. Needs `create-d`.");

async fn create_direct(
    app: App,
    caller: Caller,
    Body(asked): Body<Create>,
) -> Answer<DirectAnswer> {
    answer(create(&app, &caller, asked).await?)
}

pub const DELETE_DIRECT: Operation = Operation::post("im.delete", &delete_direct)
    .tells("Deletes a conversation with everything said in it, for good. Needs `delete-d`.");

async fn delete_direct(app: App, caller: Caller, Body(asked): Body<DirectRef>) -> Answer<Nothing> {
    delete(&app, &caller, &asked).await?;
    done()
}

pub const OPEN_DIRECT: Operation = Operation::post("im.open", &open_direct)
    .tells("Puts a conversation back into the caller's list.");

async fn open_direct(app: App, caller: Caller, Body(asked): Body<DirectRef>) -> Answer<Nothing> {
    open(&app, &caller, &asked).await?;
    done()
}

pub const CLOSE_DIRECT: Operation = Operation::post("im.close", &close_direct)
    .tells("Takes a conversation out of the caller's list until something is said in it.");

async fn close_direct(app: App, caller: Caller, Body(asked): Body<DirectRef>) -> Answer<Nothing> {
    close(&app, &caller, &asked).await?;
    done()
}

pub const CHANGE_TOPIC: Operation = Operation::post("im.setTopic", &change_topic)
    .tells("Says what a conversation is about. Needs `edit-room`.");

async fn change_topic(
    app: App,
    caller: Caller,
    Body(asked): Body<SetTopic>,
) -> Answer<TopicAnswer> {
    answer(set_topic(&app, &caller, asked).await?)
}

pub const LIST_DIRECTS: Operation =
    Operation::get("im.list", &list_directs).tells("The caller's conversations.");

async fn list_directs(app: App, caller: Caller, paging: Paging) -> Answer<DirectsAnswer> {
    answer(list(&app, &caller, &paging).await?)
}

pub const LIST_EVERYONES: Operation = Operation::get("im.list.everyone", &list_everyones)
    .tells("Everybody's conversations. Needs `view-room-administration`.");

async fn list_everyones(app: App, caller: Caller, paging: Paging) -> Answer<DirectsAnswer> {
    answer(list_everyone(&app, &caller, &paging).await?)
}

pub const LIST_MEMBERS: Operation =
    Operation::get("im.members", &list_members).tells("Who takes part in a conversation.");

async fn list_members(
    app: App,
    caller: Caller,
    (Params(wanted), Params(asked), paging): (Params<DirectRef>, Params<MembersParams>, Paging),
) -> Answer<Members> {
    answer(members_of(&app, &caller, &wanted, &asked, &paging).await?)
}

pub const DIRECT_COUNTERS: Operation = Operation::get("im.counters", &direct_counters)
    .tells("How much is in a conversation, and how much of it is new.");

async fn direct_counters(
    app: App,
    caller: Caller,
    (Params(wanted), Params(asked)): (Params<DirectRef>, Params<CountersParams>),
) -> Answer<Counters> {
    answer(counters_of(&app, &caller, &wanted, &asked).await?)
}

pub const DIRECT_HISTORY: Operation = Operation::get("im.history", &direct_history)
    .tells("A page of a conversation's history, the newest message first.")
    .notes(
        "A page does not end between two messages of the same time: it holds more than `count` \
         messages, by a thousand at most, where the last of them share a time. So whoever reads on with \
         the time of the last message as `latest` misses nothing.",
    );

async fn direct_history(
    app: App,
    caller: Caller,
    (Params(wanted), Params(asked), paging): (Params<DirectRef>, Params<HistoryParams>, Paging),
) -> Result<Written<HistoryAnswer>, Failure> {
    history_of(&app, &caller, &wanted, &asked, &paging).await
}

pub const DIRECT_MESSAGES: Operation = Operation::get("im.messages", &direct_messages)
    .tells("A page of all messages of a conversation.")
    .notes(
        "It does not end between two messages of the same time, and so can hold more than `count`.",
    );

async fn direct_messages(
    app: App,
    caller: Caller,
    (Params(wanted), paging): (Params<DirectRef>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    messages_of(&app, &caller, &wanted, &paging).await
}

pub const OTHERS_MESSAGES: Operation = Operation::get("im.messages.others", &others_messages)
    .tells(
        "A page of other people's messages to each other. Needs `view-room-administration`, and a \
         setting that allows it.",
    );

async fn others_messages(
    app: App,
    caller: Caller,
    (Params(wanted), paging): (Params<DirectRef>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    messages_of_others(&app, &caller, &wanted, &paging).await
}
