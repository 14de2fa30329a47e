//! The endpoints of direct conversations, once as `im.*` and once as `dm.*`.
//!
//! A path has to be written out where an endpoint is declared: a macro writes both. What they do
//! stands in the module above.

macro_rules! direct_endpoints {
    ($module:ident, $prefix:tt) => {
        pub mod $module {
            use super::super::*;

            pub fn routes() -> OpenApiRouter<App> {
                OpenApiRouter::new()
                    .routes(routes!(create_direct))
                    .routes(routes!(delete_direct))
                    .routes(routes!(open_direct))
                    .routes(routes!(close_direct))
                    .routes(routes!(change_topic))
                    .routes(routes!(list_directs))
                    .routes(routes!(list_everyones))
                    .routes(routes!(list_members))
                    .routes(routes!(direct_counters))
                    .routes(routes!(direct_history))
                    .routes(routes!(direct_messages))
                    .routes(routes!(others_messages))
            }

            /// Opens a direct conversation, or answers the one that there is. Needs `create-d`.
            #[utoipa::path(
                post, path = concat!("/api/v1/", $prefix, ".create"),
                operation_id = concat!($prefix, ".create"), tag = $prefix, request_body = Create,
                responses((status = 200, body = Success<DirectAnswer>), Failure)
            )]
            async fn create_direct(
                caller: Caller,
                State(app): State<App>,
                Body(asked): Body<Create>,
            ) -> Answer<DirectAnswer> {
                answer(create(&app, &caller, asked).await?)
            }

            /// Deletes a conversation with everything said in it, for good. Needs `delete-d`.
            #[utoipa::path(
                post, path = concat!("/api/v1/", $prefix, ".delete"),
                operation_id = concat!($prefix, ".delete"), tag = $prefix,
                request_body = DirectRef,
                responses((status = 200, body = Success<Nothing>), Failure)
            )]
            async fn delete_direct(
                caller: Caller,
                State(app): State<App>,
                Body(asked): Body<DirectRef>,
            ) -> Answer<Nothing> {
                delete(&app, &caller, &asked).await?;
                done()
            }

            /// Puts a conversation back into the caller's list.
            #[utoipa::path(
                post, path = concat!("/api/v1/", $prefix, ".open"),
                operation_id = concat!($prefix, ".open"), tag = $prefix, request_body = DirectRef,
                responses((status = 200, body = Success<Nothing>), Failure)
            )]
            async fn open_direct(
                caller: Caller,
                State(app): State<App>,
                Body(asked): Body<DirectRef>,
            ) -> Answer<Nothing> {
                open(&app, &caller, &asked).await?;
                done()
            }

            /// Takes a conversation out of the caller's list until something is said in it.
            #[utoipa::path(
                post, path = concat!("/api/v1/", $prefix, ".close"),
                operation_id = concat!($prefix, ".close"), tag = $prefix, request_body = DirectRef,
                responses((status = 200, body = Success<Nothing>), Failure)
            )]
            async fn close_direct(
                caller: Caller,
                State(app): State<App>,
                Body(asked): Body<DirectRef>,
            ) -> Answer<Nothing> {
                close(&app, &caller, &asked).await?;
                done()
            }

            /// Says what a conversation is about. Needs `edit-room`.
            #[utoipa::path(
                post, path = concat!("/api/v1/", $prefix, ".setTopic"),
                operation_id = concat!($prefix, ".setTopic"), tag = $prefix,
                request_body = SetTopic,
                responses((status = 200, body = Success<TopicAnswer>), Failure)
            )]
            async fn change_topic(
                caller: Caller,
                State(app): State<App>,
                Body(asked): Body<SetTopic>,
            ) -> Answer<TopicAnswer> {
                answer(set_topic(&app, &caller, asked).await?)
            }

            /// The caller's conversations.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".list"),
                operation_id = concat!($prefix, ".list"), tag = $prefix, params(PagingParams),
                responses((status = 200, body = Success<DirectsAnswer>), Failure)
            )]
            async fn list_directs(
                caller: Caller,
                State(app): State<App>,
                paging: Paging,
            ) -> Answer<DirectsAnswer> {
                answer(list(&app, &caller, &paging).await?)
            }

            /// Everybody's conversations. Needs `view-room-administration`.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".list.everyone"),
                operation_id = concat!($prefix, ".list.everyone"), tag = $prefix,
                params(PagingParams),
                responses((status = 200, body = Success<DirectsAnswer>), Failure)
            )]
            async fn list_everyones(
                caller: Caller,
                State(app): State<App>,
                paging: Paging,
            ) -> Answer<DirectsAnswer> {
                answer(list_everyone(&app, &caller, &paging).await?)
            }

            /// Who takes part in a conversation.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".members"),
                operation_id = concat!($prefix, ".members"), tag = $prefix,
                params(DirectRef, MembersParams, PagingParams),
                responses((status = 200, body = Success<Members>), Failure)
            )]
            async fn list_members(
                caller: Caller,
                State(app): State<App>,
                Params(wanted): Params<DirectRef>,
                Params(asked): Params<MembersParams>,
                paging: Paging,
            ) -> Answer<Members> {
                answer(members_of(&app, &caller, &wanted, &asked, &paging).await?)
            }

            /// How much is in a conversation, and how much of it is new.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".counters"),
                operation_id = concat!($prefix, ".counters"), tag = $prefix,
                params(DirectRef, CountersParams),
                responses((status = 200, body = Success<Counters>), Failure)
            )]
            async fn direct_counters(
                caller: Caller,
                State(app): State<App>,
                Params(wanted): Params<DirectRef>,
                Params(asked): Params<CountersParams>,
            ) -> Answer<Counters> {
                answer(counters_of(&app, &caller, &wanted, &asked).await?)
            }

            /// A page of a conversation's history, the newest message first.
            ///
            /// A page does not end between two messages of the same time: it holds more than `count`
            /// messages, by a thousand at most, where the last of them share a time. So whoever reads
            /// on with the time of the last message as `latest` misses nothing.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".history"),
                operation_id = concat!($prefix, ".history"), tag = $prefix,
                params(DirectRef, HistoryParams, PagingParams),
                responses((status = 200, body = HistoryAnswer), Failure)
            )]
            async fn direct_history(
                caller: Caller,
                State(app): State<App>,
                Params(wanted): Params<DirectRef>,
                Params(asked): Params<HistoryParams>,
                paging: Paging,
            ) -> Result<Written, Failure> {
                history_of(&app, &caller, &wanted, &asked, &paging).await
            }

            /// A page of all messages of a conversation.
            ///
            /// It does not end between two messages of the same time, and so can hold more than `count`.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".messages"),
                operation_id = concat!($prefix, ".messages"), tag = $prefix,
                params(DirectRef, PagingParams),
                responses((status = 200, body = MessagesAnswer), Failure)
            )]
            async fn direct_messages(
                caller: Caller,
                State(app): State<App>,
                Params(wanted): Params<DirectRef>,
                paging: Paging,
            ) -> Result<Written, Failure> {
                messages_of(&app, &caller, &wanted, &paging).await
            }

            /// A page of other people's messages to each other. Needs `view-room-administration`,
            /// and a setting that allows it.
            #[utoipa::path(
                get, path = concat!("/api/v1/", $prefix, ".messages.others"),
                operation_id = concat!($prefix, ".messages.others"), tag = $prefix,
                params(DirectRef, PagingParams),
                responses((status = 200, body = MessagesAnswer), Failure)
            )]
            async fn others_messages(
                caller: Caller,
                State(app): State<App>,
                Params(wanted): Params<DirectRef>,
                paging: Paging,
            ) -> Result<Written, Failure> {
                messages_of_others(&app, &caller, &wanted, &paging).await
            }
        }
    };
}

direct_endpoints!(im, "im");
direct_endpoints!(dm, "dm");
