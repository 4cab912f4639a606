# With the package that openapi-python-client makes.
import json
import os

from posthorn_client import AuthenticatedClient
from posthorn_client.api.events import get_event_status, send_event
from posthorn_client.api.subscriptions import create_subscription, update_subscription
from posthorn_client.models import (
    EventAcceptedResponse,
    EventRequest,
    ProblemResponse,
    ScheduleRetryPolicy,
    SubscriptionRequest,
    SubscriptionWithSecretResponse,
    UpdateSubscriptionRequest,
)

client = AuthenticatedClient(
    base_url=os.environ["POSTHORN_URL"], token=os.environ["POSTHORN_KEY"]
)

created = create_subscription.sync(
    client=client,
    body=SubscriptionRequest(
        target_url=os.environ["TARGET_URL"],
        is_active=False,
        retry_policy=ScheduleRetryPolicy(schedule=[1, 2]),
    ),
)
assert isinstance(created, SubscriptionWithSecretResponse), created

update_subscription.sync(
    created.id, client=client, body=UpdateSubscriptionRequest(description="python")
)

sent = send_event.sync(
    client=client,
    body=EventRequest(event_type="order.paid", payload={"order": 42}),
)
assert isinstance(sent, EventAcceptedResponse), sent

missing = get_event_status.sync(created.id, client=client)
assert isinstance(missing, ProblemResponse), missing
print(
    json.dumps(
        {
            "subscription": str(created.id),
            "event": str(sent.id),
            "status": sent.status,
            "problem": missing.code,
        }
    )
)
