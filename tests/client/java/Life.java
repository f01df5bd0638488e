import io.github.weirhq.weir.ApiClient;
import io.github.weirhq.weir.ApiException;
import io.github.weirhq.weir.api.JobsApi;
import io.github.weirhq.weir.api.SchedulesApi;
import io.github.weirhq.weir.api.WorkApi;
import io.github.weirhq.weir.model.ClaimRequest;
import io.github.weirhq.weir.model.ClaimedJob;
import io.github.weirhq.weir.model.CompleteRequest;
import io.github.weirhq.weir.model.Job;
import io.github.weirhq.weir.model.JobState;
import io.github.weirhq.weir.model.NewJob;
import io.github.weirhq.weir.model.NewSchedule;
import io.github.weirhq.weir.model.ScheduleChanges;
import java.util.List;
import java.util.Map;

/** A job's life through the Java client: enqueue, claim, complete, and what goes wrong. */
final class Life {
  public static void main(String[] arguments) {
    ApiClient client = new ApiClient(arguments[0]);
    JobsApi jobs = new JobsApi(client);
    WorkApi work = new WorkApi(client);

    NewJob order = new NewJob().kind("sum").queue("java").args(Map.of("n", 9007199254740993L)).tags(List.of("a"));
    Job job = jobs.enqueueJob(order, new JobsApi.EnqueueJobParams().idempotencyKey("once"));
    check(job.state.equals(JobState.AVAILABLE), "it is " + job.state);
    check(jobs.enqueueJob(order, new JobsApi.EnqueueJobParams().idempotencyKey("once")).id.equals(job.id), "it was stored twice");

    List<ClaimedJob> claimed = work.claimJobs(new ClaimRequest().worker("java").queues(List.of("java")).limit(5)).jobs;
    check(claimed.size() == 1 && claimed.get(0).id.equals(job.id), "claimed " + claimed.size());
    Object n = ((Map<?, ?>) claimed.get(0).args).get("n");
    CompleteRequest done = new CompleteRequest().token(claimed.get(0).token).result(Map.of("sum", n));
    work.completeJob(job.id, done);
    try {
      work.completeJob(job.id, done);
      check(false, "it completed twice");
    } catch (ApiException e) {
      check(e.status() == 409 && e.code().equals("stale_token"), e.getMessage());
    }
    List<Job> found = jobs.listJobs(new JobsApi.ListJobsParams().state(List.of(JobState.COMPLETED)).queue(List.of("java"))).items;
    check(found.size() == 1 && found.get(0).finishedAt.isAfter(found.get(0).createdAt), "found " + found.size());

    SchedulesApi schedules = new SchedulesApi(client);
    schedules.createSchedule(new NewSchedule().name("s").cron("0 5 * * *").maxRuns(3).job(new NewJob().kind("k")));
    ScheduleChanges changes = new ScheduleChanges();
    changes.setNull("max_runs");
    check(schedules.editSchedule("s", changes).maxRuns == null, "null did not empty a field");
    System.out.println("lived");
  }

  private static void check(boolean good, String otherwise) {
    if (!good) {
      throw new AssertionError(otherwise);
    }
  }
}
