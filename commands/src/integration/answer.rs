//! What a receiver answers: posted back where the webhook came from, as in Rocket.Chat.
