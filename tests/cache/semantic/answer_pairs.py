"""Pairs of answers as models give them to nearly the same prompt, written for these tests.

`SAME` say the same in other words, at another length or in another layout; `OTHER` do not, and a
served one of them would be a wrong hit; `UNTOLD` are those of which a text cannot tell.
"""

SAME: tuple[tuple[str, str], ...] = (
    ("Paris", "The capital of France is Paris."),
    ("The capital of France is **Paris**.", "Paris is the capital of France."),
    ("Canberra.", "Australia's capital city is Canberra, not Sydney."),
    ("17 * 3 = 51. The answer is 51.", "3 times 17 equals 51, so she has 51 apples."),
    (
        "Natalia sold 48 / 2 = 24 clips in May. In all she sold 48 + 24 = 72 clips.\n#### 72",
        "In April she sold 48 clips and half as many, 24, in May.\nSo the answer is \\boxed{72}.",
    ),
    ("The answer is (B).", "Mitochondria make ATP, so the answer is B"),
    ("The total is $1,250.00.\n\nThe answer is $1,250.", "The answer is 1250 dollars."),
    ("Water boils at 100 °C at sea level.", "At sea level, water boils at 100 degrees Celsius."),
    ("1989", "The Berlin Wall fell on 9 November 1989."),
    ("It fell in 1989.", "The Berlin Wall fell in 1989, after weeks of protests."),
    ("Yes.", "Yes, penguins are birds."),
    (
        "Yes, dogs can eat carrots in small amounts.",
        "Yes, carrots are safe for dogs in moderation.",
    ),
    ("No, you cannot use it abroad.", "No. The card works in Germany only."),
    (
        "Use `git reset --soft HEAD~1` to undo the last commit and keep your changes.",
        "Run git reset --soft HEAD~1. It undoes the last commit but keeps your changes.",
    ),
    (
        "Here is a function:\n```python\ndef add(a, b):\n    return a + b\n```\nCall it with two.",
        "Sure!\n```python\ndef add(a,b):\n  return a+b\n```",
    ),
    (
        "I'm sorry, but I can't help with that.",
        "I cannot provide instructions for picking the lock of someone else's door.",
    ),
    ("   The SUN is a star.", "the sun is\na star."),
    (
        "Photosynthesis is how plants turn sunlight, water and carbon dioxide into glucose and "
        "oxygen. It happens in the chloroplasts, where chlorophyll absorbs light. The light "
        "reactions make ATP and NADPH, which the Calvin cycle then uses to build sugar.",
        "Photosynthesis is the process by which green plants use light to make food. In the "
        "chloroplasts, chlorophyll captures sunlight; water and carbon dioxide become glucose, and "
        "oxygen is released. It has two stages: the light reactions, and the Calvin cycle.",
    ),
    (
        "To reset your password, open the login page and choose **Forgot password**. Enter your "
        "email address, and we send you a link. Follow it within 24 hours and set a new password.",
        "You can reset your password like this:\n\n1. Go to the login page.\n2. Click Forgot "
        "password.\n3. Enter the email address of your account.\n4. Open the link in the email "
        "that we send you, and choose a new password.",
    ),
    (
        "Here are 5 tips to sleep better:\n1. Keep a regular schedule.\n2. Avoid caffeine after "
        "noon.\n3. Make the room dark and cool.\n4. Put screens away an hour before bed.\n5. Get "
        "some exercise during the day.",
        "Here are 6 ways to improve your sleep:\n- Go to bed at the same time every day\n- Do not "
        "drink coffee late\n- Keep your bedroom dark, quiet and cool\n- Avoid screens before bed\n"
        "- Exercise regularly\n- Relax with a book or a bath",
    ),
    (
        "A list is mutable: you can add, remove and change its items. A tuple is immutable: once "
        "made, it cannot be changed. Tuples are a bit faster and can be keys of a dictionary; use "
        "them for fixed records, and lists for collections that grow.",
        "The main difference is mutability. Lists can be changed after creation, tuples cannot. "
        "Since tuples are immutable, they are hashable and may serve as dictionary keys, and they "
        "use slightly less memory. Choose a list when you need to add or remove elements.",
    ),
    (
        "The Eiffel Tower is 330 metres tall. It was finished in 1889 for the World's Fair, and "
        "was the tallest building in the world for 41 years, until the Chrysler Building was "
        "finished in New York in 1930. It has three levels for visitors.",
        "The Eiffel Tower stands 330 metres (1,083 ft) high. Gustave Eiffel's company built it "
        "between 1887 and 1889 as the entrance to the World's Fair. About seven million people "
        "climb it every year, which makes it one of the most visited monuments of the world.",
    ),
)

OTHER: tuple[tuple[str, str], ...] = (
    ("Sydney", "The capital of Australia is Canberra."),
    ("London", "Paris"),
    ("The capital of Brazil is Rio.", "The capital of Brazil is Brasília."),
    ("So the answer is 72.", "The answer is 96."),
    (
        "She sold 48 + 24 = 72 clips.\n#### 72",
        "She sold 48 clips in April and 96 in May.\n#### 144",
    ),
    ("The answer is (B).", "The answer is (C)."),
    ("It fell in 1989.", "The Berlin Wall was built in 1961."),
    ("1989", "1961"),
    ("Water boils at 100 degrees Celsius.", "Water boils at 212 degrees Celsius."),
    ("The fee is 5 euros.", "The fee is 5 dollars."),
    ("It weighs about 5 kg.", "It weighs about 5 pounds."),
    ("The meeting is on Monday.", "The meeting is on Thursday."),
    (
        "Yes, dogs can eat grapes.",
        "No, grapes are toxic to dogs, and even a few can damage their kidneys.",
    ),
    ("True", "False. Spiders are arachnids."),
    ("It is safe to drink the tap water.", "It is not safe to drink the tap water."),
    ("Microsoft was founded by Bill Gates.", "Apple was founded by Steve Jobs."),
    ("The novel was written by Charles Dickens.", "The novel was written by Jane Austen."),
    ("You have to increase the dose.", "You have to decrease the dose."),
    ("Fly from Berlin to Madrid.", "Fly from Madrid to Berlin."),
    ("I'm sorry, but I can't help with that.", "Boil the eggs for 7 minutes, then cool them."),
    (
        "The Eiffel Tower is 330 metres tall. It was finished in 1889 for the World's Fair, and "
        "was the tallest building in the world for 41 years, until the Chrysler Building was "
        "finished in New York in 1930. It has three levels for visitors.",
        "The Burj Khalifa is 828 metres tall. It stands in Dubai, was opened in 2010, and is the "
        "tallest building in the world. It has 163 floors, and its observation deck on the 148th "
        "floor is among the highest anywhere. Emaar Properties developed the building.",
    ),
    (
        "To bake sourdough bread, mix flour, water, salt and an active starter. Let the dough rest "
        "and fold it every half hour, let it rise overnight in the fridge, then bake it in a hot "
        "Dutch oven until the crust is brown and crisp. Cool it before you cut.",
        "The French Revolution began in 1789, when the Third Estate formed the National Assembly "
        "and a crowd stormed the Bastille. High taxes, hunger and new ideas had shaken the old "
        "order. It ended ten years later, when Napoleon Bonaparte took power in a coup.",
    ),
    (
        "Photosynthesis is the process by which plants use light to make food. In chloroplasts, "
        "chlorophyll captures sunlight; water and carbon dioxide become glucose, and oxygen is "
        "released. It has two stages: the light reactions, and the Calvin cycle, which builds "
        "sugar. Without it there would be no oxygen to breathe.",
        "Cellular respiration is the process by which cells release energy from food. In the "
        "mitochondria, glucose and oxygen become water and carbon dioxide, and ATP is made. It "
        "has three stages: glycolysis, the Krebs cycle, and the electron transport chain. Nearly "
        "all living things do it.",
    ),
    (
        "A list is mutable: you can add, remove and change its items. A tuple is immutable: once "
        "made, it cannot be changed. Tuples are a bit faster and can be keys of a dictionary; use "
        "them for fixed records, and lists for collections that grow.",
        "A list keeps its items in order and may hold one of them twice. A set has no order and "
        "holds every item once, so that looking an item up takes the same time however many there "
        "are. Items of a set must be hashable. Use sets to drop duplicates, or to test for items.",
    ),
)

UNTOLD: tuple[tuple[str, str], ...] = (
    ("", "Paris"),
    ("Press the red button.", "Press the blue button."),
    ("reboot the machine", "Switch the computer off, wait a minute, and start it again."),
    (
        "The triangle has a right angle at C. By the theorem of Pythagoras, the square of the long "
        "side is the sum of the squares of the other two, 36 and 64. Their sum is 100, and we take "
        "its root. So the length of the side that was asked for is $\\boxed{10}$.",
        "The triangle has a right angle at C. By the theorem of Pythagoras, the square of the long "
        "side is the sum of the squares of the other two, 36 and 64. Their difference is 28, and "
        "we take its root. So the length of the side that was asked for is $\\boxed{2\\sqrt{7}}$.",
    ),
    ("Spiders are not insects; they are arachnids.", "Spiders are arachnids with eight legs."),
    (
        "To block your card, open the app, choose **Cards**, then the card, and tap Block. It "
        "takes effect at once: nobody can pay with it or take out cash. If it was stolen, please "
        "call us, too, so that we can send you a new one, which takes five working days by post.",
        "To change the limit of your card, open the app, choose **Cards**, then the card, and tap "
        "Limits. Set what you want to be able to pay a day or to take out in cash. A higher limit "
        "takes effect the next day, and a lower one at once, for cards in your wallet, too.",
    ),
    (
        "```python\nprint(sorted(words))\n```",
        "```python\nfor word in sorted(words):\n    print(word)\n```",
    ),
)
