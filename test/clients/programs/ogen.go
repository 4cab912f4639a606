// With the package that ogen makes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/ogen-go/ogen/ogenerrors"

	"example.test/clients/api"
)

type key string

func (k key) Bearer(context.Context, api.OperationName) (api.Bearer, error) {
	return api.Bearer{Token: string(k)}, nil
}

func (key) APIKey(context.Context, api.OperationName) (api.APIKey, error) {
	return api.APIKey{}, ogenerrors.ErrSkipClientSecurity
}

func main() {
	ctx := context.Background()
	client, err := api.NewClient(os.Getenv("POSTHORN_URL"), key(os.Getenv("POSTHORN_KEY")))
	check(err)

	custom := api.NewScheduleRetryPolicyCustomRetryPolicy(api.ScheduleRetryPolicy{Schedule: []float64{1, 2}})
	answer, err := client.CreateSubscription(ctx, &api.SubscriptionRequest{
		TargetURL:   os.Getenv("TARGET_URL"),
		IsActive:    api.NewOptBool(false),
		RetryPolicy: api.NewOptNilRetryPolicy(api.NewCustomRetryPolicyRetryPolicy(custom)),
	}, api.CreateSubscriptionParams{})
	check(err)
	created := answer.(*api.CreateSubscriptionCreatedHeaders).Response

	_, err = client.UpdateSubscription(ctx,
		&api.UpdateSubscriptionRequest{Description: api.NewOptNilString("ogen")},
		api.UpdateSubscriptionParams{ID: created.ID})
	check(err)

	event, err := client.SendEvent(ctx,
		&api.EventRequest{EventType: "order.paid", Payload: []byte(`{"order": 42}`)}, api.SendEventParams{})
	check(err)
	sent := event.(*api.SendEventAccepted).Response

	missing, err := client.GetEventStatus(ctx, api.GetEventStatusParams{ID: created.ID})
	check(err)
	line, err := json.Marshal(map[string]any{
		"subscription": created.ID, "event": sent.ID, "status": sent.Status,
		"problem": missing.(*api.GetEventStatusNotFound).Response.Code,
	})
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
