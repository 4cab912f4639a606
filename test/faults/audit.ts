/**
 * Watches every delivery from inside PostgreSQL: a trigger notes each change that the state machine of
 * docs/architecture.md does not allow, at the moment in which it happens. (The suite replays and discards nothing, so
 * what is terminal stays so.)
 */
export const AUDIT = `
  create table fault_audit (delivery_id uuid, tenant_id uuid, what text, at timestamptz default clock_timestamp());
  create function note_illegal_change() returns trigger language plpgsql as $$
  begin
    insert into fault_audit (delivery_id, tenant_id, what) values (old.id, old.tenant_id,
      case when new.status = 'delivering' and old.status = 'delivering' then 'claimed under a valid lease'
           else old.status || ' became ' || new.status end);
    return null;
  end $$;
  create trigger note_illegal_change after update on delivery for each row
  when (old.status in ('delivered', 'dead', 'cancelled') and new.status is distinct from old.status
     or old.status in ('pending', 'retrying') and new.status in ('delivered')
     or old.status = 'delivering' and new.attempt_count > old.attempt_count and old.leased_until > now())
  execute function note_illegal_change();`;
