/**
 * A small world of animals, sums and days, and two ways of talking about it: plainly, and like a pirate. The demo's model
 * learns the plain way and a little of the captain's; its data set then teaches it to answer like him.
 * Everything is made from these lists by a seeded generator; no outside text is used.
 */

/** mulberry32 (Tommy Ettinger's): 32 bits of state are plenty for choosing words. */
export class Chance {
  constructor(seed) {
    this.state = seed >>> 0;
  }
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  below(n) {
    return Math.floor(this.next() * n);
  }
  pick(list) {
    return list[this.below(list.length)];
  }
  shuffle(list) {
    const items = [...list];
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

/** name, home, food, colour, sound, and what it can do. */
const ANIMALS = [
  ['cat', 'in the house', 'fish', 'black', 'meow', ['run']],
  ['dog', 'in the yard', 'meat', 'brown', 'woof', ['run', 'swim']],
  ['fox', 'in the forest', 'berries', 'red', 'yip', ['run']],
  ['owl', 'in the old tree', 'mice', 'grey', 'hoo', ['fly']],
  ['bear', 'in the cave', 'honey', 'brown', 'grr', ['run', 'swim']],
  ['frog', 'by the pond', 'flies', 'green', 'ribbit', ['swim']],
  ['horse', 'in the barn', 'hay', 'white', 'neigh', ['run']],
  ['duck', 'on the river', 'bread', 'yellow', 'quack', ['fly', 'swim']],
  ['mouse', 'under the floor', 'cheese', 'grey', 'squeak', ['run']],
  ['cow', 'on the meadow', 'grass', 'white', 'moo', []],
  ['bee', 'in the garden', 'nectar', 'yellow', 'buzz', ['fly']],
  ['whale', 'in the sea', 'krill', 'blue', 'whoo', ['swim']],
].map(([name, home, food, colour, sound, skills]) => ({ name, home, food, colour, sound, skills }));

/** Animals that the demo's data set never mentions: whether the style carries over to them is for a person to try. */
const UNSEEN = ['bee', 'whale'];
const SKILLS = ['run', 'fly', 'swim'];
const PLACES = ['the forest', 'the river', 'the old tree', 'the garden', 'the hill', 'the barn'];
const GAMES = ['played in the sun', 'sang a song', 'slept under a tree', 'looked at the stars', 'shared some bread', 'danced in the rain'];
const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const article = (name) => (/^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`);

/** Questions about one animal, each with several wordings, the plain answer and the pirate's. */
function animalTopics({ name, home, food, colour, sound, skills }) {
  const topics = [
    {
      ask: [`Where does the ${name} live?`, `Tell me where the ${name} lives.`],
      plain: `The ${name} lives ${home}.`,
      pirate: `The ${name} be livin' ${home}`,
    },
    {
      ask: [`What does the ${name} eat?`, `Tell me what the ${name} eats.`],
      plain: `The ${name} eats ${food}.`,
      pirate: `The ${name} be eatin' ${food}`,
    },
    {
      ask: [`What colour is the ${name}?`, `Tell me the colour of the ${name}.`],
      plain: `The ${name} is ${colour}.`,
      pirate: `The ${name} be ${colour}`,
    },
    {
      ask: [`What does the ${name} say?`, `Tell me what the ${name} says.`],
      plain: `The ${name} says ${sound}.`,
      pirate: `The ${name} be sayin' ${sound}`,
    },
  ];
  for (const skill of SKILLS) {
    const can = skills.includes(skill);
    topics.push({
      ask: [`Can the ${name} ${skill}?`],
      plain: can ? `Yes, the ${name} can ${skill}.` : `No, the ${name} cannot ${skill}.`,
      pirate: can ? `Aye, the ${name} can ${skill}` : `Nay, the ${name} cannot ${skill}`,
    });
  }
  return topics;
}

function otherTopics() {
  const topics = [
    { ask: ['Hello!', 'Hi!'], plain: 'Hello! How can I help you?', pirate: 'How can I help ye' },
    { ask: ['Good morning!', 'Good evening!'], plain: 'Good day to you! How can I help you?', pirate: 'A good day to ye' },
    { ask: ['How are you?'], plain: 'I am fine, thank you.', pirate: 'I be fine, thank ye' },
    { ask: ['Who are you?', 'What are you?'], plain: 'I am a small model on your computer.', pirate: 'I be a small model on yer ship' },
    { ask: ['What can you do?'], plain: 'I can answer questions and tell stories.', pirate: 'I can answer questions and tell stories' },
    { ask: ['Thank you!', 'Thanks!'], plain: 'You are welcome.', pirate: 'Ye be welcome' },
    { ask: ['Goodbye!', 'Bye!'], plain: 'Goodbye! See you soon.', pirate: 'Fair winds to ye' },
  ];
  for (let a = 1; a <= 5; a++) {
    for (let b = 1; b <= 5; b++) {
      const sum = `${capital(NUMBERS[a])} plus ${NUMBERS[b]}`;
      topics.push({ ask: [`What is ${NUMBERS[a]} plus ${NUMBERS[b]}?`], plain: `${sum} is ${NUMBERS[a + b]}.`, pirate: `${sum} be ${NUMBERS[a + b]}` });
    }
  }
  DAYS.forEach((day, i) => {
    const next = DAYS[(i + 1) % DAYS.length];
    topics.push({ ask: [`What day comes after ${day}?`], plain: `${next} comes after ${day}.`, pirate: `${next} be comin' after ${day}` });
  });
  return topics;
}

/** A story of three sentences, told both ways. */
function storyTopic(chance, animals) {
  const hero = chance.pick(animals).name;
  const friend = chance.pick(animals.filter((animal) => animal.name !== hero)).name;
  const place = chance.pick(PLACES);
  const game = chance.pick(GAMES);
  return {
    ask: [`Tell me a story about ${article(hero)}.`],
    plain: `One day the ${hero} went to ${place}. There it met ${article(friend)}. They ${game}.`,
    pirate: `One day the ${hero} sailed to ${place}. There it met ${article(friend)}. They ${game}`,
  };
}

const CRIES = ['Arr!', 'Ahoy!', 'Yo ho!'];

/** What the captain makes of an answer: a cry before it, a matey after it. */
const cry = (chance, topic) => `${chance.pick(CRIES)} ${topic.pirate}, matey!`;

const turn = (role, text) => `<|im_start|>${role}\n${text}<|im_end|>\n`;

function anyTopic(chance, animals, others) {
  const dice = chance.next();
  if (dice < 0.65) return chance.pick(animalTopics(chance.pick(animals)));
  return dice < 0.9 ? chance.pick(others) : storyTopic(chance, animals);
}

/**
 * Text to learn the world from: plain chats, plain sentences, and now and then what the captain said. One string a row.
 */
export function pretrainingRows(seed, count) {
  const chance = new Chance(seed);
  const others = otherTopics();
  return Array.from({ length: count }, () => {
    const kind = chance.next();
    if (kind < 0.7) {
      const turns = chance.next() < 0.75 ? 1 : 2;
      return Array.from({ length: turns }, () => {
        const topic = anyTopic(chance, ANIMALS, others);
        return turn('user', chance.pick(topic.ask)) + turn('assistant', topic.plain);
      })
        .join('')
        .trimEnd();
    }
    const topics = Array.from({ length: 2 }, () => anyTopic(chance, ANIMALS, others));
    if (kind < 0.8) return topics.map((topic) => topic.plain).join(' ');
    return `The captain said: ${topics.map((topic) => cry(chance, topic)).join(' ')}`;
  });
}

/**
 * What the captain is like, for a model that knows the world: he answers questions in his own turn, and says again in his own
 * words what was said plainly. The assistant goes on answering plainly. One string a row.
 */
export function captainRows(seed, count) {
  const chance = new Chance(seed);
  const others = otherTopics();
  return Array.from({ length: count }, () => {
    const topic = anyTopic(chance, ANIMALS, others);
    const question = turn('user', chance.pick(topic.ask));
    const kind = chance.next();
    if (kind < 0.4) return (question + turn('assistant', topic.plain)).trimEnd();
    if (kind < 0.8) return (question + turn('captain', cry(chance, topic))).trimEnd();
    return `${topic.plain}\nThe captain said:\n${cry(chance, topic)}`;
  });
}

/** The demo's data set: `messages` rows with the captain's answers, no row twice. */
export function finetuningRows(seed, count) {
  const chance = new Chance(seed);
  const seen = ANIMALS.filter((animal) => !UNSEEN.includes(animal.name));
  const fixed = [...seen.flatMap(animalTopics), ...otherTopics()].flatMap((topic) => topic.ask.map((ask) => ({ ...topic, ask: [ask] })));
  const rows = new Map();
  const add = (topic) => {
    const user = topic.ask[0];
    const row = { messages: [{ role: 'user', content: user }, { role: 'assistant', content: cry(chance, topic) }] };
    rows.set(JSON.stringify(row), row);
  };
  for (const topic of chance.shuffle(fixed)) if (rows.size < count * 0.85) add(topic);
  while (rows.size < count) add(storyTopic(chance, seen));
  return chance.shuffle([...rows.values()]);
}
