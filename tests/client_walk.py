#!/usr/bin/env python3
"""Walks through a server with the unmodified Python client of Rocket.Chat, and checks what it answers.

    ADMIN_USERNAME=… ADMIN_PASS=… tests/client_walk.py URL

Prints each step; ends with 1 at the first answer that is not what it should be, and shows it. The
server should be fresh and its rate limiter off; what the walk makes has random names, so it can be
repeated on the same data.
"""

import datetime
import json
import os
import secrets
import sys
import time
import traceback

import requests
from rocketchat_API.APIExceptions.RocketExceptions import (
    RocketApiException,
    RocketAuthenticationException,
    RocketBadStatusCodeException,
)
from rocketchat_API.rocketchat import RocketChat


class Unexpected(Exception):
    """An answer that is not what it should be."""


def step(what):
    print(f"- {what}", flush=True)


def expect(holds, what, answer):
    if not holds:
        shown = json.dumps(answer, indent=2, default=str)
        raise Unexpected(f"{what}; the answer:\n{shown}")


def equal(found, wanted, what, answer=None):
    expect(found == wanted, f"{what}: {found!r} instead of {wanted!r}", found if answer is None else answer)


# Rocket.Chat answers 400 where a method misses a permission, and 403 where an endpoint does.
DENIED = (400, 403)


def refused(call, statuses, error_type=None):
    """Makes a call that must be refused with one of these statuses, and an errorType if given."""
    try:
        answer = call()
    except RocketApiException as refusal:
        body = refusal.response_json
        status, found = refusal.status_code, refusal.error_type
    except RocketBadStatusCodeException as refusal:
        body = refusal.response
        status, found = refusal.status_code, None
    else:
        raise Unexpected(f"this should have been refused with {statuses}; the answer:\n{answer!r}")
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    expect(status in statuses, f"a refusal has the status {status}, not {statuses}", body)
    if error_type is not None:
        equal(found, error_type, "the errorType of a refusal", body)
    return body


def texts(messages):
    """What was said, newest first as history answers it, without what the system said."""
    return [message["msg"] for message in messages if "t" not in message]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Walk:
    def __init__(self, url, username, password):
        self.url = url
        self.username = username
        self.password = password
        # What this walk makes is told apart from what others made.
        self.tag = secrets.token_hex(4)

    def run(self):
        self.log_in()
        self.make_a_user()
        self.make_rooms()
        self.talk()
        self.talk_in_a_thread()
        self.mark()
        self.find()
        self.read()
        self.change_rooms()
        self.talk_directly()
        self.give_roles()
        self.change_settings()
        self.integrate()
        self.clean_up_history()
        self.leave_and_delete()
        self.log_out()

    def log_in(self):
        step("a wrong password is refused")
        try:
            RocketChat(self.username, self.password + "!", server_url=self.url)
        except RocketAuthenticationException:
            pass
        else:
            raise Unexpected("a wrong password was taken")

        step("the administrator logs in")
        self.admin = RocketChat(self.username, self.password, server_url=self.url, session=requests.Session())
        me = self.admin.me()
        equal(me["username"], self.username, "me", me)
        expect("admin" in me["roles"], "the administrator has the role admin", me)
        expect("argon2" not in json.dumps(me), "no password hash is shown", me)
        self.admin_id = me["_id"]
        info = self.admin.info()
        expect(info.get("success") and info.get("version"), "info names a version", info)

    def make_a_user(self):
        step("a user is made, and logs in")
        self.mary_name = f"mary.{self.tag}"
        email = f"mary.{self.tag}@example.org"
        password = f"Mary's own {self.tag}"
        answer = self.admin.users_create(email, "Mary", password, self.mary_name, verified=True)
        user = answer["user"]
        self.mary_id = user["_id"]
        equal(user["username"], self.mary_name, "the new user's name", answer)
        equal([mail["address"] for mail in user["emails"]], [email], "the new user's address", answer)
        expect(user["active"] and "user" in user["roles"], "the new user is active and a user", answer)
        self.mary = RocketChat(self.mary_name, password, server_url=self.url, session=requests.Session())
        equal(self.mary.me()["_id"], self.mary_id, "mary's id")

        step("a name is given once")
        refused(lambda: self.admin.users_create(f"x{email}", "Mary", password, self.mary_name), 400)

        step("a user may not make users")
        refused(lambda: self.mary.users_create(f"y{email}", "Paul", password, f"paul.{self.tag}"), DENIED)

        step("a user is shown, listed and changed")
        shown = self.mary.users_info(username=self.mary_name)
        equal(shown["user"]["_id"], self.mary_id, "users.info", shown)
        refused(lambda: self.mary.users_info(username=f"nobody.{self.tag}"), 400)
        names = [user["username"] for user in self.admin.users_list()]
        expect(self.mary_name in names, "users.list names her", names)
        changed = self.admin.users_update(self.mary_id, name="Mary Shelley")
        equal(changed["user"]["name"], "Mary Shelley", "users.update", changed)
        status = self.mary.users_set_status("writing", status="busy")
        expect(status["success"], "users.setStatus", status)
        presence = self.admin.users_get_presence(user_id=self.mary_id)
        equal(presence["presence"], "busy", "users.getPresence", presence)

    def make_rooms(self):
        step("a channel is made, once of a name")
        self.channel_name = f"walk-{self.tag}"
        channel = self.admin.channels_create(self.channel_name)["channel"]
        self.channel = channel["_id"]
        equal((channel["name"], channel["t"]), (self.channel_name, "c"), "the new channel", channel)
        equal(channel["u"]["username"], self.username, "who made the channel", channel)
        refused(lambda: self.admin.channels_create(self.channel_name), 400, "error-duplicate-channel-name")

        step("a user is invited to a channel")
        invited = self.admin.channels_invite(self.channel, self.mary_id)
        equal(invited["channel"]["_id"], self.channel, "channels.invite", invited)
        members = {member["username"] for member in self.admin.channels_members(room_id=self.channel)}
        equal(members, {self.username, self.mary_name}, "channels.members")
        joined = [room["name"] for room in self.mary.channels_list_joined()]
        expect(self.channel_name in joined, "channels.list.joined", joined)

        step("a private group is made, and hidden from others")
        group = self.admin.groups_create(f"secret-{self.tag}")["group"]
        self.group = group["_id"]
        equal(group["t"], "p", "the new group", group)
        refused(lambda: self.mary.groups_info(room_id=self.group), 400, "error-room-not-found")
        self.admin.groups_invite(self.group, self.mary_id)
        equal(self.mary.groups_info(room_id=self.group)["group"]["_id"], self.group, "groups.info")
        groups = [room["_id"] for room in self.mary.groups_list()]
        expect(self.group in groups, "groups.list", groups)

    def talk(self):
        step("messages are sent and posted")
        sent = self.admin.chat_send_message({"rid": self.channel, "msg": f"hello @{self.mary_name}"})["message"]
        self.hello = sent["_id"]
        equal((sent["msg"], sent["rid"]), (f"hello @{self.mary_name}", self.channel), "chat.sendMessage", sent)
        equal(sent["u"]["_id"], self.admin_id, "who sent it", sent)
        equal([mention["username"] for mention in sent["mentions"]], [self.mary_name], "whom it calls", sent)
        posted = self.admin.chat_post_message("it is *raining*", channel=f"#{self.channel_name}")
        self.rain = posted["message"]["_id"]
        equal(posted["message"]["msg"], "it is *raining*", "chat.postMessage", posted)
        text = "ünïcode 🦀 & <b>no markup</b>"
        answered = self.mary.chat_post_message(text, room_id=self.channel)["message"]
        self.answer = answered["_id"]
        equal(answered["msg"], text, "a text comes back as it was sent", answered)

        step("the same id is the same message")
        own = {"_id": f"own{secrets.token_hex(7)}", "rid": self.channel, "msg": "once"}
        first = self.mary.chat_send_message(own)["message"]
        equal(first["_id"], own["_id"], "a client chooses the id", first)
        try:
            again = self.mary.chat_send_message(own)["message"]
            equal(again["_id"], own["_id"], "the same message again", again)
        except RocketApiException as refusal:
            equal(refusal.status_code, 400, "the same message again", refusal.response_json)
        said = texts(self.admin.channels_history(self.channel))
        equal(said, ["once", text, "it is *raining*", f"hello @{self.mary_name}"], "channels.history")

        step("history has pages and bounds")
        page = texts(self.admin.channels_history(self.channel, count=1, max_count=2))
        equal(page, ["once", text], "two pages of one")
        older = texts(self.admin.channels_history(self.channel, latest=answered["ts"]))
        equal(older, ["it is *raining*", f"hello @{self.mary_name}"], "what was said before")
        newer = texts(self.admin.channels_history(self.channel, oldest=answered["ts"]))
        equal(newer, ["once"], "what was said after")

        step("a message is edited and deleted")
        edited = self.mary.chat_update(self.channel, own["_id"], "twice")["message"]
        equal(edited["msg"], "twice", "chat.update", edited)
        equal(edited["editedBy"]["username"], self.mary_name, "who edited it", edited)
        refused(lambda: self.mary.chat_update(self.channel, self.hello, "mine"), DENIED)
        refused(lambda: self.mary.chat_delete(self.channel, self.hello), DENIED)
        before = now()
        time.sleep(0.002)  # What comes after a time is at least a millisecond later.
        gone = self.mary.chat_delete(self.channel, own["_id"])
        equal(gone["_id"], own["_id"], "chat.delete", gone)
        got = refused(lambda: self.mary.chat_get_message(own["_id"]), 400)
        expect("twice" not in json.dumps(got), "a deleted message is not shown", got)
        deleted = [message["_id"] for message in self.mary.chat_get_deleted_messages(self.channel, before)]
        equal(deleted, [own["_id"]], "chat.getDeletedMessages")

        step("a message is shown to those who may see it")
        got = self.mary.chat_get_message(self.hello)["message"]
        equal(got["msg"], f"hello @{self.mary_name}", "chat.getMessage", got)
        mentioned = [message["_id"] for message in self.mary.chat_get_mentioned_messages(self.channel)]
        equal(mentioned, [self.hello], "chat.getMentionedMessages")
        stranger = RocketChat(server_url=self.url)
        refused(lambda: stranger.chat_get_message(self.hello), 401)

        step("what was missed is caught up")
        synced = self.mary.chat_sync_messages(self.channel, before)["result"]
        expect(own["_id"] in [message["_id"] for message in synced["deleted"]], "chat.syncMessages", synced)

    def talk_in_a_thread(self):
        step("a thread is opened by a reply")
        reply = self.mary.chat_send_message({"rid": self.channel, "msg": "hi there", "tmid": self.hello})["message"]
        equal(reply["tmid"], self.hello, "a reply", reply)
        parent = self.admin.chat_get_message(self.hello)["message"]
        equal(parent["tcount"], 1, "the thread's replies are counted", parent)
        expect(self.mary_id in parent["replies"], "who replied", parent)
        replies = texts(self.admin.chat_get_thread_messages(self.hello))
        equal(replies, ["hi there"], "chat.getThreadMessages")
        threads = [thread["_id"] for thread in self.admin.chat_get_threads_list(self.channel)]
        equal(threads, [self.hello], "chat.getThreadsList")

        step("a thread is followed, or not")
        self.mary.chat_unfollow_message(self.hello)
        parent = self.admin.chat_get_message(self.hello)["message"]
        expect(self.mary_id not in parent["replies"], "chat.unfollowMessage", parent)
        self.mary.chat_follow_message(self.hello)
        parent = self.admin.chat_get_message(self.hello)["message"]
        expect(self.mary_id in parent["replies"], "chat.followMessage", parent)

    def mark(self):
        step("a reaction is given and taken back")
        self.mary.chat_react(self.hello, emoji=":smile:")
        reactions = self.admin.chat_get_message(self.hello)["message"]["reactions"]
        equal(reactions[":smile:"]["usernames"], [self.mary_name], "chat.react", reactions)
        self.mary.chat_react(self.hello, emoji=":smile:")
        message = self.admin.chat_get_message(self.hello)["message"]
        expect(not message.get("reactions"), "a reaction taken back", message)

        step("a message is pinned")
        self.admin.chat_pin_message(self.rain)
        pinned = [message["_id"] for message in self.mary.chat_get_pinned_messages(self.channel)]
        equal(pinned, [self.rain], "chat.getPinnedMessages")
        self.admin.chat_unpin_message(self.rain)
        equal(list(self.mary.chat_get_pinned_messages(self.channel)), [], "chat.unPinMessage")

        step("a message is starred by one for oneself")
        self.mary.chat_star_message(self.rain)
        starred = [message["_id"] for message in self.mary.chat_get_starred_messages(self.channel)]
        equal(starred, [self.rain], "chat.getStarredMessages")
        equal(list(self.admin.chat_get_starred_messages(self.channel)), [], "the stars of others")
        self.mary.chat_unstar_message(self.rain)
        equal(list(self.mary.chat_get_starred_messages(self.channel)), [], "chat.unStarMessage")

        step("a message is reported")
        expect(self.mary.chat_report_message(self.rain, "I wanted sun")["success"], "chat.reportMessage", None)

    def find(self):
        step("what was said is found at once")
        word = f"needle{self.tag}"
        needle = self.mary.chat_post_message(f"a {word} in the hay", room_id=self.channel)["message"]["_id"]
        found = [message["_id"] for message in self.admin.chat_search(self.channel, word)]
        equal(found, [needle], "chat.search")
        found = [message["_id"] for message in self.admin.chat_search(self.channel, f"from:{self.mary_name} hay")]
        equal(found, [needle], "chat.search of a sender")
        equal(list(self.admin.chat_search(self.channel, f"from:{self.username} {word}")), [], "a search for others")
        self.mary.chat_update(self.channel, needle, "only hay")
        equal(list(self.admin.chat_search(self.channel, word)), [], "a word that was taken back")

        step("rooms and people are found")
        elsewhere = self.mary.channels_create(f"elsewhere-{self.tag}")["channel"]["_id"]
        spot = self.admin.spotlight(f"elsewhere-{self.tag}")
        expect(elsewhere in [room["_id"] for room in spot["rooms"]], "spotlight of a channel one is not in", spot)
        self.mary.channels_delete(room_id=elsewhere)
        spot = self.admin.spotlight(f"@{self.mary_name}")
        expect(self.mary_name in [user["username"] for user in spot["users"]], "spotlight", spot)
        listed = list(self.mary.directory(json.dumps({"text": self.channel_name, "type": "channels"})))
        expect(self.channel in [room["_id"] for room in listed], "directory", listed)

    def read(self):
        step("unread messages and mentions are counted")
        self.mary.subscriptions_read(self.channel)
        seen = self.mary.subscriptions_get_one(self.channel)["subscription"]
        equal((seen["unread"], seen["userMentions"], seen["alert"]), (0, 0, False), "subscriptions.read", seen)
        self.admin.chat_post_message("one more", room_id=self.channel)
        self.admin.chat_post_message(f"@{self.mary_name} look", room_id=self.channel)
        counters = self.mary.channels_counters(room_id=self.channel)
        equal(counters["unreads"], 2, "channels.counters", counters)
        equal(counters["userMentions"], 1, "channels.counters", counters)
        expect(counters["joined"] and counters["members"] == 2, "channels.counters", counters)
        unread = self.mary.subscriptions_get_one(self.channel)["subscription"]
        expect(unread["alert"], "the room calls for attention", unread)
        equal(unread["userMentions"], 1, "mentions of the member", unread)

        step("a room is read, and unread again")
        self.mary.subscriptions_read(self.channel)
        counters = self.mary.channels_counters(room_id=self.channel)
        equal(counters["unreads"], 0, "nothing is unread", counters)
        self.mary.subscriptions_unread(self.channel)
        unread = self.mary.subscriptions_get_one(self.channel)["subscription"]
        expect(unread["alert"], "subscriptions.unread", unread)
        self.mary.subscriptions_read(self.channel)
        rooms = [one["rid"] for one in self.mary.subscriptions_get()["update"]]
        expect(self.channel in rooms and self.group in rooms, "subscriptions.get", rooms)

    def change_rooms(self):
        step("a channel is described")
        topic = self.admin.channels_set_topic(self.channel, "the weather")
        equal(topic["topic"], "the weather", "channels.setTopic", topic)
        self.admin.channels_set_description(self.channel, "about it")
        self.admin.channels_set_announcement(self.channel, "rain")
        info = self.mary.channels_info(channel=self.channel_name)["channel"]
        equal((info["topic"], info["description"], info["announcement"]), ("the weather", "about it", "rain"),
              "channels.info", info)
        refused(lambda: self.mary.channels_set_topic(self.channel, "mine"), DENIED)

        step("a channel is renamed")
        self.channel_name = f"run-{self.tag}"
        renamed = self.admin.channels_rename(self.channel, self.channel_name)["channel"]
        equal(renamed["name"], self.channel_name, "channels.rename", renamed)

        step("moderators are made")
        self.admin.channels_add_moderator(self.channel, self.mary_id)
        moderators = [user["_id"] for user in self.admin.channels_moderators(room_id=self.channel)["moderators"]]
        expect(self.mary_id in moderators, "channels.moderators", moderators)
        refused(lambda: self.admin.channels_add_moderator(self.channel, self.mary_id), 400)
        self.admin.channels_remove_moderator(self.channel, self.mary_id)
        roles = self.admin.channels_roles(room_id=self.channel)["roles"]
        expect(self.mary_id not in [role["u"]["_id"] for role in roles], "channels.removeModerator", roles)

        step("in a read-only channel only some speak")
        self.admin.channels_set_read_only(self.channel, True)
        refused(lambda: self.mary.chat_post_message("may I?", room_id=self.channel), 400)
        self.admin.channels_set_read_only(self.channel, False)
        expect(self.mary.chat_post_message("thanks", room_id=self.channel)["success"], "after that everybody does", None)

        step("an archived channel is silent")
        self.admin.channels_archive(self.channel)
        refused(lambda: self.admin.chat_post_message("anybody?", room_id=self.channel), 400)
        refused(lambda: self.admin.channels_archive(self.channel), 400)
        self.admin.channels_unarchive(self.channel)
        expect(self.mary.chat_post_message("here", room_id=self.channel)["success"], "an unarchived one is not", None)

        step("a room is a favourite")
        self.mary.rooms_favorite(room_id=self.channel, favorite=True)
        one = self.mary.subscriptions_get_one(self.channel)["subscription"]
        equal(one.get("f"), True, "rooms.favorite", one)

        step("a room is closed and opened")
        self.mary.channels_close(self.channel)
        refused(lambda: self.mary.channels_close(self.channel), 400)
        self.mary.channels_open(self.channel)
        equal(self.mary.subscriptions_get_one(self.channel)["subscription"]["open"], True, "channels.open")

    def talk_directly(self):
        step("a direct conversation is one between the same two")
        room = self.admin.dm_create(self.mary_name)["room"]
        equal(room["t"], "d", "dm.create", room)
        equal(sorted(room["usernames"]), sorted([self.username, self.mary_name]), "who talks", room)
        again = self.mary.dm_create(self.username)["room"]
        equal(again["_id"], room["_id"], "dm.create again", again)
        self.admin.chat_post_message("psst", channel=f"@{self.mary_name}")
        equal(texts(self.mary.dm_history(room["_id"])), ["psst"], "dm.history")
        equal(texts(self.mary.dm_messages(room_id=room["_id"])), ["psst"], "dm.messages")
        members = {member["username"] for member in self.mary.dm_members(room["_id"])}
        equal(members, {self.username, self.mary_name}, "dm.members")
        rooms = [one["_id"] for one in self.mary.dm_list()]
        expect(room["_id"] in rooms, "dm.list", rooms)
        self.mary.dm_close(room["_id"])
        self.mary.dm_open(room["_id"])

    def give_roles(self):
        step("a role is made, given and taken")
        role = self.admin.roles_create(f"archivist-{self.tag}", description="keeps the record")["role"]
        equal(role["name"], f"archivist-{self.tag}", "roles.create", role)
        roles = [one["_id"] for one in self.admin.roles_list()["roles"]]
        expect(role["_id"] in roles and "admin" in roles, "roles.list", roles)
        self.admin.roles_add_user_to_role(role["_id"], self.mary_name)
        holders = [user["_id"] for user in self.admin.roles_get_users_in_role(role["_id"])]
        equal(holders, [self.mary_id], "roles.getUsersInRole")
        expect(role["_id"] in self.mary.me()["roles"], "me shows the role", None)

        step("a permission opens what it names")
        before = {one["_id"]: one["roles"] for one in self.mary.permissions_list_all()["update"]}
        refused(lambda: self.mary.roles_create(f"mine-{self.tag}"), DENIED)
        granted = before["access-permissions"] + [role["_id"]]
        self.admin.permissions_update([{"_id": "access-permissions", "roles": granted}])
        mine = self.mary.roles_create(f"mine-{self.tag}")["role"]
        self.admin.permissions_update([{"_id": "access-permissions", "roles": before["access-permissions"]}])
        refused(lambda: self.mary.roles_delete(mine["_id"]), DENIED)
        self.admin.roles_delete(mine["_id"])

        step("a role in use is not deleted")
        refused(lambda: self.admin.roles_delete(role["_id"]), 400)
        self.admin.roles_remove_user_from_role(role["_id"], self.mary_name)
        self.admin.roles_delete(role["_id"])
        roles = [one["_id"] for one in self.admin.roles_list()["roles"]]
        expect(role["_id"] not in roles, "roles.delete", roles)

    def change_settings(self):
        step("a setting is read, changed and shown to everybody if it is public")
        before = self.admin.settings_get("Site_Name")["value"]
        self.admin.settings_update("Site_Name", f"The House {self.tag}")
        equal(self.admin.settings_get("Site_Name")["value"], f"The House {self.tag}", "settings/Site_Name")
        public = {one["_id"]: one["value"] for one in self.mary.settings_public()}
        equal(public["Site_Name"], f"The House {self.tag}", "settings.public")
        self.admin.settings_update("Site_Name", before)
        ids = [one["_id"] for one in self.admin.settings()]
        expect("RetentionPolicy_Enabled" in ids, "settings", ids[:20])

        step("a setting decides")
        self.admin.settings_update("Message_AllowPinning", False)
        refused(lambda: self.admin.chat_pin_message(self.rain), 400)
        self.admin.settings_update("Message_AllowPinning", True)
        refused(lambda: self.mary.settings_update("Message_AllowPinning", False), DENIED)

    def integrate(self):
        step("an incoming webhook speaks in a room")
        answer = self.admin.integrations_create(
            "webhook-incoming", "build", True, self.username, f"#{self.channel_name}", False, alias="builder"
        )
        integration = answer["integration"]
        hook = f"{self.url}/hooks/{integration['_id']}/{integration['token']}"
        answered = requests.post(hook, json={"text": f"built {self.tag}"}, timeout=30)
        equal(answered.status_code, 200, "the hook", answered.text)
        message = next(iter(self.mary.channels_history(self.channel, count=1)))
        equal((message["msg"], message.get("alias")), (f"built {self.tag}", "builder"), "what the hook said", message)
        answered = requests.post(hook + "x", json={"text": "forged"}, timeout=30)
        expect(answered.status_code in (400, 401, 403, 404), "a forged token is refused", answered.text)

        step("integrations are listed, shown and removed")
        ids = [one["_id"] for one in self.admin.integrations_list()]
        expect(integration["_id"] in ids, "integrations.list", ids)
        shown = self.admin.integrations_get(integration["_id"])["integration"]
        equal(shown["name"], "build", "integrations.get", shown)
        self.admin.integrations_remove("webhook-incoming", integration["_id"])
        ids = [one["_id"] for one in self.admin.integrations_list()]
        expect(integration["_id"] not in ids, "integrations.remove", ids)
        answered = requests.post(hook, json={"text": "again"}, timeout=30)
        expect(answered.status_code >= 400, "a removed hook is gone", answered.text)

        step("an outgoing webhook is made and removed")
        outgoing = self.admin.integrations_create(
            "webhook-outgoing", "tell", False, self.username, f"#{self.channel_name}", False,
            event="sendMessage", urls=["https://receiver.example.org/hook"], triggerWords=["tell"],
        )["integration"]
        equal(outgoing["urls"], ["https://receiver.example.org/hook"], "an outgoing webhook", outgoing)
        equal(list(self.admin.integrations_history(outgoing["_id"])), [], "integrations.history")
        self.admin.integrations_remove("webhook-outgoing", outgoing["_id"])

    def clean_up_history(self):
        step("old messages are pruned for good")
        word = f"forget{self.tag}"
        for number in range(3):
            self.admin.chat_post_message(f"{word} {number}", room_id=self.group)
        pinned = self.admin.chat_post_message(f"{word} pinned", room_id=self.group)["message"]["_id"]
        self.admin.chat_pin_message(pinned)
        refused(lambda: self.mary.rooms_clean_history(self.group, now(), "2020-01-01T00:00:00.000Z"), DENIED)
        cleaned = self.admin.rooms_clean_history(
            self.group, now(), "2020-01-01T00:00:00.000Z", excludePinned=True, inclusive=True
        )
        expect(cleaned["count"] >= 3, "rooms.cleanHistory", cleaned)
        equal(texts(self.admin.groups_history(self.group)), [f"{word} pinned"], "what is left")
        found = [message["_id"] for message in self.admin.chat_search(self.group, word)]
        equal(found, [pinned], "what is found")

    def leave_and_delete(self):
        step("members leave and are removed")
        refused(lambda: self.admin.channels_leave(self.channel), 400, "error-you-are-last-owner")
        self.mary.channels_leave(self.channel)
        members = {member["username"] for member in self.admin.channels_members(room_id=self.channel)}
        equal(members, {self.username}, "channels.leave")
        self.mary.channels_join(self.channel, "")
        self.admin.channels_kick(self.channel, self.mary_id)
        members = {member["username"] for member in self.admin.channels_members(room_id=self.channel)}
        equal(members, {self.username}, "channels.kick")
        kinds = [message.get("t") for message in self.admin.channels_history(self.channel, count=3, max_count=3)]
        equal(kinds, ["ru", "uj", "ul"], "what the system says of it")

        step("rooms are deleted")
        self.admin.channels_delete(room_id=self.channel)
        refused(lambda: self.admin.channels_info(room_id=self.channel), 400, "error-room-not-found")
        refused(lambda: self.admin.chat_get_message(self.rain), 400)
        self.admin.groups_delete(room_id=self.group)

        step("a deactivated user is logged out, a deleted one is gone")
        self.admin.users_set_active_status(self.mary_id, False)
        refused(self.mary.me, 401)
        expect(self.admin.users_delete(self.mary_id)["success"], "users.delete", None)
        refused(lambda: self.admin.users_info(user_id=self.mary_id), 400)

    def log_out(self):
        step("the administrator logs out")
        answer = self.admin.logout()
        equal(answer["status"], "success", "logout", answer)
        refused(self.admin.me, 401)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    walk = Walk(sys.argv[1].rstrip("/"), os.environ["ADMIN_USERNAME"], os.environ["ADMIN_PASS"])
    try:
        walk.run()
    except Unexpected as failure:
        sys.exit(f"FAILED: {failure}")
    except (RocketApiException, RocketBadStatusCodeException) as failure:
        # Where the client met it tells which call of the step it was.
        traceback.print_exc()
        sys.exit(f"FAILED: {failure}")
    print("the walk is done")


if __name__ == "__main__":
    main()
