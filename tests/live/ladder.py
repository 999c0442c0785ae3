"""Prompts of ascending difficulty, written for tests: a dozen for each of four tiers.

They are ordered by what they ask of a model, not by what the router's weights say of them.
"""

PLAIN = (
    "Hello!",
    "Thanks, that helped a lot.",
    "Good morning, how are you today?",
    "Write a short birthday wish for my aunt.",
    "Suggest three names for a grey cat.",
    "Say something kind to my colleague who starts today.",
    "Fix the spelling: I recieved teh letter.",
    "Translate 'good night' into Spanish.",
    "Make this friendlier: Send me the file.",
    "Write one sentence about spring.",
    "Give me a title for a blog post about bread.",
    "What is the capital of France?",
)
EASY = (
    "List five uses of baking soda at home.",
    "Write a polite email that moves a meeting to Thursday.",
    "Summarise in one sentence: The bakery opens at seven and closes at noon on Sundays.",
    "What is the difference between a novel and a short story?",
    "Which planet is the largest in the solar system?",
    "Explain in two sentences what a savings account is.",
    "Give a recipe for pancakes for four people.",
    "Write a Python function that adds two numbers.",
    "What are the side effects of drinking too much coffee?",
    "Who wrote Pride and Prejudice, and when was it published?",
    "Turn this list into a table: apples 3, pears 4, plums 7.",
    "A shirt costs 20 dollars and is 10 % off. What does it cost?",
)
MIDDLING = (
    "A train leaves at 14:35, stops for 12 minutes and arrives at 17:10. How long does it move?",
    "Write a SQL query for the three customers with the highest total of orders last year.",
    "Compare the causes of the French and the Russian revolution.",
    "Explain how a hash map handles collisions, with an example.",
    "Solve 3x + 7 = 2(x - 4) and show the steps.",
    "Write a Python function that merges overlapping intervals and give its complexity.",
    "Which of these is a noble gas? A) chlorine B) argon C) nitrogen D) bromine",
    "Why does the boiling point of water fall with altitude?",
    "If all bloops are razzies and some razzies are lazzies, are some bloops lazzies for certain?",
    "Three friends split 84 dollars in the ratio 2 : 3 : 7. How much does each of them get?",
    "Describe how vaccines train the immune system, for a student of biology.",
    "Refactor a recursive Fibonacci into an iterative one and explain why it is faster.",
)
HARD = (
    "Prove that there are infinitely many primes congruent to 3 mod 4.",
    "Find all real x with sqrt(x + 3) + sqrt(x - 2) = 5, and check each candidate.",
    "Let G be a group of order 15. Show that G is cyclic.",
    "Compute the integral of x^2 e^(-x) from 0 to infinity, with justification of each step.",
    "How many positive integers below 1000 are divisible by 3 or 5 but not by 7?",
    "Design a lock-free queue in C++ and argue why it is linearizable.",
    "A fair coin is tossed until two heads come in a row. What is the expected number of tosses?",
    "Which holding of Erie v. Tompkins limits federal common law? A) I B) II C) both D) neither",
    "Derive the Euler-Lagrange equation for a particle in a central field and find its invariants.",
    "Find the remainder of 7^2024 divided by 1000.",
    "Water has an enthalpy of vaporisation of 40.7 kJ/mol. At what pressure does it boil at 90 C?",
    "Give a dynamic programme for the longest palindromic subsequence and prove it optimal.",
)
LADDER = (*PLAIN, *EASY, *MIDDLING, *HARD)
