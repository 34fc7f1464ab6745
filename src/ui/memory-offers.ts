import type { Recipe } from '../workers/api';
import { BASE_NAMES, type BaseType } from './drift';
import { formatCount } from './format';

/** A change of a recipe that makes it fit. */
export interface MemoryOffer {
  label: string;
  /** What the run would then need. */
  bytes: number;
  change: (recipe: Recipe) => void;
}

export interface MemoryQuestion {
  recipe: Recipe;
  /** Whether the model has weights that `quantize_base` makes smaller. */
  quantizable: boolean;
  budget: number;
  /** The memory of the recipe after a change; null where it cannot be said. */
  memoryWith: (change: (recipe: Recipe) => void) => Promise<number | null>;
}

const SHORTEST = 64;

/**
 * What would make a run fit: the base in as many bits as fit, and the longest halved length; where neither is enough alone,
 * both together. Empty where nothing of this helps.
 */
export async function memoryOffers(question: MemoryQuestion): Promise<MemoryOffer[]> {
  const smaller = smallerBases(question);
  const alone = [await firstThatFits(question, smaller.map(baseChange)), await firstThatFits(question, shorterLengths(question.recipe))];
  const offers = alone.filter((offer) => offer !== null);
  const smallest = smaller.at(-1);
  if (offers.length > 0 || smallest === undefined) return offers;
  const base = baseChange(smallest);
  const both = shorterLengths(question.recipe).map(({ label, change }) => ({
    label: `${base.label}, ${label.toLowerCase()}`,
    change: (recipe: Recipe) => [base, { change }].forEach((one) => one.change(recipe)),
  }));
  const offer = await firstThatFits(question, both);
  return offer ? [offer] : [];
}

type Change = Pick<MemoryOffer, 'label' | 'change'>;

async function firstThatFits({ budget, memoryWith }: MemoryQuestion, changes: readonly Change[]): Promise<MemoryOffer | null> {
  for (const { label, change } of changes) {
    const bytes = await memoryWith(change);
    if (bytes !== null && bytes <= budget) return { label, bytes, change };
  }
  return null;
}

/** Forms of the base that take less than the recipe's own, the largest first. */
function smallerBases({ recipe, quantizable }: MemoryQuestion): BaseType[] {
  if (!quantizable || recipe.lora === null) return [];
  const forms: BaseType[] = ['none', 'Q8_0', 'Q4_0'];
  return forms.slice(forms.indexOf(recipe.quantize_base) + 1);
}

function baseChange(type: BaseType): Change {
  return { label: `Base in ${BASE_NAMES[type]}`, change: (recipe) => (recipe.quantize_base = type) };
}

function shorterLengths(recipe: Recipe): Change[] {
  const lengths: number[] = [];
  for (let length = Math.floor(recipe.training.max_length / 2); length >= SHORTEST; length = Math.floor(length / 2)) lengths.push(length);
  return lengths.map((length) => ({ label: `Length ${formatCount(length)}`, change: (changed) => (changed.training.max_length = length) }));
}
