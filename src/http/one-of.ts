import { IsIn } from 'class-validator';
import { notOneOf } from '../domain/nearest-name.js';

interface OneOfOptions {
  /** The field holds a list, of which each must be one of them. */
  each?: boolean;
  /** What the refusal says in the place of the list of all. */
  rule?: string;
}

/** One of some texts. The refusal lists them, and says which one was probably meant. */
export const OneOf = (
  choices: readonly string[],
  { each = false, rule }: OneOfOptions = {},
): PropertyDecorator =>
  IsIn(choices, {
    each,
    message: ({ value }: { value: unknown }) => {
      const given: unknown[] = each && Array.isArray(value) ? value : [value];
      const wrong = given.find((one) => !(choices as readonly unknown[]).includes(one));
      return notOneOf(wrong, choices, rule);
    },
  });
