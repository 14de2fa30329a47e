//! The endpoints that `channels.*` and `groups.*` have both.
//!
//! Each is declared with its path, which has to be written out where it is declared: a macro writes
//! the two of them. What they do is in [`section`](super::section).

/// Declares the shared endpoints, and `shared_routes()` with all of them. `$answer` is what answers
/// a room and is made of one.
macro_rules! section_endpoints {
    ($prefix:tt, $section:expr, $answer:ident) => {
        use crate::rest::rooms::section::*;

        fn shared_routes() -> OpenApiRouter<App> {
            OpenApiRouter::new()
                .routes(routes!(create_room))
                .routes(routes!(room_info))
                .routes(routes!(add_members))
                .routes(routes!(add_everybody))
                .routes(routes!(archive_room))
                .routes(routes!(unarchive_room))
                .routes(routes!(delete_room))
                .routes(routes!(open_room))
                .routes(routes!(close_room))
                .routes(routes!(rename_room))
                .routes(routes!(change_topic))
                .routes(routes!(change_description))
                .routes(routes!(change_purpose))
                .routes(routes!(change_announcement))
                .routes(routes!(change_read_only))
                .routes(routes!(change_type))
                .routes(routes!(change_custom_fields))
                .routes(routes!(add_owner))
                .routes(routes!(remove_owner))
                .routes(routes!(add_moderator))
                .routes(routes!(remove_moderator))
                .routes(routes!(add_leader))
                .routes(routes!(remove_leader))
                .routes(routes!(list_members))
                .routes(routes!(list_moderators))
                .routes(routes!(list_roles))
                .routes(routes!(list_online))
                .routes(routes!(room_counters))
                .routes(routes!(room_history))
                .routes(routes!(room_messages))
        }

        section_endpoints! { @room $prefix, $section, $answer;
            /// Makes a room. Needs `create-c` for channels, `create-p` for groups.
            create_room ".create" Create => |app, caller, section, asked| create(app, caller, section, asked);
            /// Adds users to a room. Needs `add-user-to-joined-room` for a caller in the room,
            /// otherwise `add-user-to-any-c-room` or `add-user-to-any-p-room`.
            add_members ".invite" Invite => |app, caller, section, asked| invite(app, caller, section, &asked);
            /// Adds everybody to a room. Needs `add-all-to-room`.
            add_everybody ".addAll" AddAll => |app, caller, section, asked| add_all(app, caller, section, &asked);
            /// Renames a room. Needs `edit-room`.
            rename_room ".rename" SetText => |app, caller, section, asked| rename(app, caller, section, asked);
            /// Makes a room read-only, or not. Needs `edit-room`.
            change_read_only ".setReadOnly" SetSwitch => |app, caller, section, asked| set_read_only(app, caller, section, asked);
            /// Makes a channel of a group, or a group of a channel. Needs `edit-room`, and
            /// `create-c` or `create-p`.
            change_type ".setType" SetText => |app, caller, section, asked| set_type(app, caller, section, asked);
            /// Replaces the custom fields of a room. Needs `edit-room`.
            change_custom_fields ".setCustomFields" SetCustomFields => |app, caller, section, asked| set_custom_fields(app, caller, section, asked);
        }

        section_endpoints! { @text $prefix, $section;
            /// Says what a room is talking about. Needs `edit-room`.
            change_topic ".setTopic" Text::Topic;
            /// Says what a room is for. Needs `edit-room`.
            change_description ".setDescription" Text::Description;
            /// Says what a room is for, under its older name. Needs `edit-room`.
            change_purpose ".setPurpose" Text::Purpose;
            /// Announces something in a room. Needs `edit-room`.
            change_announcement ".setAnnouncement" Text::Announcement;
        }

        section_endpoints! { @done $prefix, $section;
            /// Archives a room: nothing more is said in it. Needs `archive-room`.
            archive_room ".archive" RoomRef => |app, caller, section, asked| archive(app, caller, section, &asked);
            /// Opens an archived room again. Needs `unarchive-room`.
            unarchive_room ".unarchive" RoomRef => |app, caller, section, asked| unarchive(app, caller, section, &asked);
            /// Deletes a room with everything said in it, for good. Needs `delete-c` or `delete-p`.
            delete_room ".delete" RoomRef => |app, caller, section, asked| delete(app, caller, section, &asked);
            /// Puts a room back into the caller's list.
            open_room ".open" RoomRef => |app, caller, section, asked| open(app, caller, section, &asked);
            /// Takes a room out of the caller's list until something is said in it.
            close_room ".close" RoomRef => |app, caller, section, asked| close(app, caller, section, &asked);
            /// Makes a member an owner. Needs `set-owner`.
            add_owner ".addOwner" MemberRef => |app, caller, section, asked| grant(app, caller, section, &asked, RoomRole::Owner);
            /// Takes ownership from a member. Needs `set-owner`.
            remove_owner ".removeOwner" MemberRef => |app, caller, section, asked| revoke(app, caller, section, &asked, RoomRole::Owner);
            /// Makes a member a moderator. Needs `set-moderator`.
            add_moderator ".addModerator" MemberRef => |app, caller, section, asked| grant(app, caller, section, &asked, RoomRole::Moderator);
            /// Makes a moderator a plain member. Needs `set-moderator`.
            remove_moderator ".removeModerator" MemberRef => |app, caller, section, asked| revoke(app, caller, section, &asked, RoomRole::Moderator);
            /// Makes a member a leader. Needs `set-leader`.
            add_leader ".addLeader" MemberRef => |app, caller, section, asked| grant(app, caller, section, &asked, RoomRole::Leader);
            /// Makes a leader a plain member. Needs `set-leader`.
            remove_leader ".removeLeader" MemberRef => |app, caller, section, asked| revoke(app, caller, section, &asked, RoomRole::Leader);
        }

        /// What a room is.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".info"),
            operation_id = concat!($prefix, ".info"), tag = $prefix, params(RoomRef),
            responses((status = 200, body = Success<$answer>), Failure)
        )]
        async fn room_info(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
        ) -> Answer<$answer> {
            answer($answer::from(info(&app, &caller, $section, &room).await?))
        }

        /// The members of a room.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".members"),
            operation_id = concat!($prefix, ".members"), tag = $prefix,
            params(RoomRef, MembersParams, PagingParams),
            responses((status = 200, body = Success<Members>), Failure)
        )]
        async fn list_members(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
            Params(asked): Params<MembersParams>,
            paging: Paging,
        ) -> Answer<Members> {
            answer(members(&app, &caller, $section, &room, &asked, &paging).await?)
        }

        /// The moderators of a room.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".moderators"),
            operation_id = concat!($prefix, ".moderators"), tag = $prefix, params(RoomRef),
            responses((status = 200, body = Success<Moderators>), Failure)
        )]
        async fn list_moderators(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
        ) -> Answer<Moderators> {
            answer(moderators(&app, &caller, $section, &room).await?)
        }

        /// Who has which roles in a room.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".roles"),
            operation_id = concat!($prefix, ".roles"), tag = $prefix, params(RoomRef),
            responses((status = 200, body = Success<Roles>), Failure)
        )]
        async fn list_roles(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
        ) -> Answer<Roles> {
            answer(roles(&app, &caller, $section, &room).await?)
        }

        /// Who is online in the room that `query` finds.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".online"),
            operation_id = concat!($prefix, ".online"), tag = $prefix, params(PagingParams),
            responses((status = 200, body = Success<Online>), Failure)
        )]
        async fn list_online(
            caller: Caller,
            State(app): State<App>,
            paging: Paging,
        ) -> Answer<Online> {
            answer(online(&app, &caller, $section, &paging).await?)
        }

        /// How much is in a room, and how much of it is new.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".counters"),
            operation_id = concat!($prefix, ".counters"), tag = $prefix,
            params(RoomRef, CountersParams),
            responses((status = 200, body = Success<Counters>), Failure)
        )]
        async fn room_counters(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
            Params(asked): Params<CountersParams>,
        ) -> Answer<Counters> {
            answer(counters_in(&app, &caller, $section, &room, &asked).await?)
        }

        /// A page of a room's history, the newest message first.
        ///
        /// A page does not end between two messages of the same time: it holds more than `count`
        /// messages, by a thousand at most, where the last of them share a time. So whoever reads on
        /// with the time of the last message as `latest` misses nothing.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".history"),
            operation_id = concat!($prefix, ".history"), tag = $prefix,
            params(RoomRef, HistoryParams, PagingParams),
            responses((status = 200, body = HistoryAnswer), Failure)
        )]
        async fn room_history(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
            Params(asked): Params<HistoryParams>,
            paging: Paging,
        ) -> Result<Written, Failure> {
            history_of(&app, &caller, $section, &room, &asked, &paging).await
        }

        /// A page of all messages of a room.
        ///
        /// It does not end between two messages of the same time, and so can hold more than `count`.
        #[utoipa::path(
            get, path = concat!("/api/v1/", $prefix, ".messages"),
            operation_id = concat!($prefix, ".messages"), tag = $prefix,
            params(RoomRef, PagingParams),
            responses((status = 200, body = MessagesAnswer), Failure)
        )]
        async fn room_messages(
            caller: Caller,
            State(app): State<App>,
            Params(room): Params<RoomRef>,
            paging: Paging,
        ) -> Result<Written, Failure> {
            messages_of(&app, &caller, $section, &room, &paging).await
        }
    };

    (@room $prefix:tt, $section:expr, $answer:ident; $(
        $(#[$doc:meta])* $name:ident $path:tt $request:ident =>
            |$app:ident, $caller:ident, $of:ident, $asked:ident| $act:expr;
    )*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            post, path = concat!("/api/v1/", $prefix, $path),
            operation_id = concat!($prefix, $path), tag = $prefix, request_body = $request,
            responses((status = 200, body = Success<$answer>), Failure)
        )]
        async fn $name(
            caller: Caller,
            State(app): State<App>,
            Body($asked): Body<$request>,
        ) -> Answer<$answer> {
            let ($app, $caller, $of) = (&app, &caller, $section);
            answer($answer::from($act.await?))
        }
    )*};

    (@done $prefix:tt, $section:expr; $(
        $(#[$doc:meta])* $name:ident $path:tt $request:ident =>
            |$app:ident, $caller:ident, $of:ident, $asked:ident| $act:expr;
    )*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            post, path = concat!("/api/v1/", $prefix, $path),
            operation_id = concat!($prefix, $path), tag = $prefix, request_body = $request,
            responses((status = 200, body = Success<Nothing>), Failure)
        )]
        async fn $name(
            caller: Caller,
            State(app): State<App>,
            Body($asked): Body<$request>,
        ) -> Answer<Nothing> {
            let ($app, $caller, $of) = (&app, &caller, $section);
            $act.await?;
            done()
        }
    )*};

    (@text $prefix:tt, $section:expr; $(
        $(#[$doc:meta])* $name:ident $path:tt $text:expr;
    )*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            post, path = concat!("/api/v1/", $prefix, $path),
            operation_id = concat!($prefix, $path), tag = $prefix, request_body = SetText,
            responses((status = 200, body = Success<TextAnswer>), Failure)
        )]
        async fn $name(
            caller: Caller,
            State(app): State<App>,
            Body(asked): Body<SetText>,
        ) -> Answer<TextAnswer> {
            answer(TextAnswer(set_text(&app, &caller, $section, asked, $text).await?))
        }
    )*};
}
