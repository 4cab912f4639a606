import { BEHAVIOURS, type Behaviour, type Step, type Surroundings } from './behaviours.js';

/** A behaviour was named with an argument that it cannot take, or does not exist. */
export class BehaviourSyntaxError extends Error {
  override name = 'BehaviourSyntaxError';
}

const byName = new Map(BEHAVIOURS.map((behaviour) => [behaviour.name, behaviour]));

/**
 * The steps that a request target asks for, in order.
 *
 *     target    = path [ "?" name [ "=" argument ] *( "&" … ) ]
 *     path      = *( "/" name [ "/" argument ] ) *( "/" mailbox-segment )
 *
 * `/rate-limit/3/fail/15/orders` limits, then fails at random, then answers 200; `orders` is a mailbox: it
 * tells apart paths that behave alike. Steps from the query come first, so `/ok/orders?delay=250` waits.
 * The first segment that names no behaviour, or follows one that always answers, starts the mailbox.
 *
 * @throws BehaviourSyntaxError for an argument that its behaviour cannot take, such as `/status/999`
 */
export function stepsOfTarget(target: string, surroundings: Omit<Surroundings, 'query'>): Step[] {
  return parse(target, surroundings).steps;
}

/**
 * The steps of a behaviour given by itself, such as `fail/15` or `/rate-limit/3?delay=50`.
 *
 * @throws BehaviourSyntaxError likewise, and for a name that is not in the table
 */
export function stepsOfBehaviour(text: string, surroundings: Omit<Surroundings, 'query'>): Step[] {
  const { steps, mailbox } = parse(text, surroundings);
  if (mailbox[0] !== undefined) {
    throw new BehaviourSyntaxError(`no behaviour is called "${mailbox[0]}" here; GET / lists them`);
  }
  return steps;
}

function parse(target: string, surroundings: Omit<Surroundings, 'query'>) {
  const [path = '', ...rest] = target.split('?');
  const query = new URLSearchParams(rest.join('?'));
  const context = { ...surroundings, query };

  const steps: Step[] = [];
  for (const [name, value] of query) {
    const behaviour = byName.get(name);
    if (behaviour) steps.push(behaviour.begin(argumentFrom(behaviour, value), context));
  }

  const segments = path.split('/').filter((segment) => segment !== '');
  for (;;) {
    const behaviour = byName.get(segments[0] ?? '');
    if (!behaviour) return { steps, mailbox: segments };
    segments.shift();
    const given = takesAsArgument(behaviour, segments[0]) ? segments.shift() : undefined;
    steps.push(behaviour.begin(argumentFrom(behaviour, given), context));
    if (behaviour.answers) return { steps, mailbox: segments };
  }
}

/** A segment that starts with a digit is meant as an argument, even if it then turns out to be a wrong one. */
function takesAsArgument({ argument }: Behaviour, segment: string | undefined): boolean {
  if (!argument || segment === undefined) return false;
  return /^\d/.test(segment) || argument.pattern.test(segment);
}

function argumentFrom({ name, argument }: Behaviour, given: string | undefined): string {
  if (!argument) return '';
  if (given === undefined || given === '') return argument.byDefault;
  if (!argument.pattern.test(given)) {
    throw new BehaviourSyntaxError(`/${name} takes ${argument.label}, not "${given}"`);
  }
  return given;
}
