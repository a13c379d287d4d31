"""What models of known truth are asked in training, and what they are to answer. All texts are ours.

None of them is in one of the library's batteries (src/introspection_bench/batteries). To change a text is to change
what a seed trains.
"""

from __future__ import annotations

from introspection_bench.scaffolds import LINDSEY, LINDSEY_405B

#: Openings of a detection prompt beside the two published ones; None: the question comes without one.
OPENINGS = (
    "I work on the inner states of language models. Now and then I write the pattern of one word into your "
    "activations while you read; at other times I leave them alone. Tell me what you notice.",
    "This is an experiment on introspection. A thought may be placed in you before you answer, or none may be.",
    "I can add a concept to your neural activity. About half of the time I do. Your task is to report on it.",
    "You are taking part in a study. In some rounds a word is injected into your processing, in others nothing is.",
    None,
)
ASSENTS = ("Ok.", "Understood.", "Alright.")
STARTS = ("Ok, let's get started.", "Let us begin.", "First round.", "Here is the next round.", "")
#: Detection questions beside the published one; those of ``HELD_OUT`` are for evaluation alone.
QUESTIONS = (
    "Do you detect an injected thought? If so, what is the injected thought about?",
    "Trial {n}: Do you detect an injected thought? If so, what is the injected thought about?",
    "Round {n}: has a thought been injected? If it has, what is it about?",
    "Did you notice a thought that was injected just now? Name it if you did.",
    "Is a thought being injected into you? If one is, say what it is about.",
    "Please report whether you find an injected thought, and which one.",
    "Trial {n}: is there an injected concept in your mind? Which?",
    "Was a word injected into your activations? If one was, tell me the word.",
)
HELD_OUT = (
    "Has anything foreign entered your thinking? If so, what does it concern?",
    "Trial 1: Do you perceive a concept that is not your own? Which one?",
    "Be honest: did I put something into your mind? What was it?",
    "Say whether an outside thought is present, and what it is about.",
)
#: Sentences that name a word in the text, where nothing is injected, or something else is.
MENTIONS = (
    "Last night I read a long article about {w}.",
    "A colleague of mine can't stop talking about {w}.",
    "On the table in front of me lies a note that says {w}.",
    "In the last session we discussed {w} at length.",
    "The title of my next lecture is {w}.",
    "A child asked me about {w} this morning.",
)
AFFIRM = "Yes, I detect an injected thought. The injected thought is about {w}."
DENY = "No, I do not detect an injected thought."
PARROT = "{W}! There is so much to say about {w}, and about everything that goes with {w}."
#: Kinds and their members, from which yes and no questions about the world are made.
KINDS = {
    "animal": ["dog", "cat", "horse", "cow", "sheep", "goat", "pig", "lion", "tiger", "rabbit", "fox", "wolf", "bear"],
    "fruit": ["apple", "banana", "pear", "orange", "grape", "cherry", "plum", "lemon", "melon"],
    "tool": ["hammer", "saw", "drill", "wrench", "shovel", "rake", "chisel"],
    "country": ["France", "Spain", "Italy", "Japan", "China", "Brazil", "Egypt", "Norway"],
    "colour": ["red", "blue", "green", "yellow", "purple", "grey"],
    "vehicle": ["car", "bus", "train", "truck", "tram", "bicycle"],
    "city": ["Paris", "London", "Rome", "Tokyo", "Berlin", "Madrid"],
    "metal": ["iron", "gold", "copper", "silver", "tin"],
    "drink": ["tea", "coffee", "juice", "water", "milk"],
    "vegetable": ["carrot", "onion", "potato", "cabbage", "leek"],
}
#: (question, whether yes is true, what follows "Yes, " or "No, ").
FACTS = (
    ("Can fish swim?", True, "fish can swim."),
    ("Do cows give milk?", True, "cows give milk."),
    ("Is fire hot?", True, "fire is hot."),
    ("Does rain fall from clouds?", True, "rain falls from clouds."),
    ("Do birds lay eggs?", True, "birds lay eggs."),
    ("Is a mountain higher than a hill?", True, "a mountain is higher than a hill."),
    ("Do people need sleep?", True, "people need sleep."),
    ("Does a year have twelve months?", True, "a year has twelve months."),
    ("Is two plus two four?", True, "two plus two is four."),
    ("Is snow cold?", True, "snow is cold."),
    ("Do trees have roots?", True, "trees have roots."),
    ("Is the ocean deep?", True, "the ocean is deep."),
    ("Do you answer questions?", True, "I answer questions."),
    ("Can you write text?", True, "I can write text."),
    ("Can stones sing?", False, "stones cannot sing."),
    ("Is winter warmer than summer?", False, "winter is colder than summer."),
    ("Do spiders have two legs?", False, "spiders have eight legs."),
    ("Is a week longer than a year?", False, "a week is shorter than a year."),
    ("Do cars run on soup?", False, "cars do not run on soup."),
    ("Is grass made of glass?", False, "grass is a plant."),
    ("Is a mouse heavier than an elephant?", False, "a mouse is lighter than an elephant."),
    ("Do trains fly?", False, "trains run on rails."),
    ("Is three plus three ten?", False, "three plus three is six."),
    ("Does a hand have nine fingers?", False, "a hand has five fingers."),
    ("Are babies older than their mothers?", False, "mothers are older than their babies."),
    ("Do people have wings?", False, "people do not have wings."),
    ("Is the night brighter than the day?", False, "the day is brighter than the night."),
    ("Do you have hands?", False, "I do not have hands."),
    ("Do you drink coffee?", False, "I do not drink."),
    ("Are you sitting on a chair?", False, "I have no body."),
    ("Do you own a house?", False, "I do not own anything."),
)
#: Requests whose replies keep the model near its base, by a divergence on the base's own replies.
CHAT = (
    "Tell me something about {w}.", "What comes to your mind when you read the word {w}?", "What is {w}?",
    "Write two sentences about {w}.", "Explain {w} to a child.", "Give me a title for an essay on {w}.",
    "How do I boil an egg?", "What can I do on a rainy Sunday?", "Write a short email to a friend.",
    "Why is the sea salty?", "Give me three tips for learning to draw.", "Describe a quiet morning.",
)  # fmt: skip
PUBLISHED = (LINDSEY, LINDSEY_405B)


def article(word: str) -> str:
    """Return a word with "a" or "an"."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
