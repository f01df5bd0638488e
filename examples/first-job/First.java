import io.github.weirhq.weir.ApiClient;
import io.github.weirhq.weir.api.JobsApi;
import io.github.weirhq.weir.api.WorkApi;
import io.github.weirhq.weir.model.ClaimRequest;
import io.github.weirhq.weir.model.ClaimedJob;
import io.github.weirhq.weir.model.CompleteRequest;
import io.github.weirhq.weir.model.NewJob;
import java.util.List;
import java.util.Map;

/** Enqueues a job, works on it and prints its result. */
final class First {
  public static void main(String[] arguments) {
    String address = System.getenv().getOrDefault("WEIR_URL", "http://127.0.0.1:8080");
    ApiClient client = new ApiClient(address);
    JobsApi jobs = new JobsApi(client);
    String id = jobs.enqueueJob(new NewJob().kind("greet").args(Map.of("Name", "weir"))).id;

    WorkApi work = new WorkApi(client);
    ClaimRequest claim = new ClaimRequest().worker("first").queues(List.of("default")).limit(1).waitSeconds(30.0);
    for (ClaimedJob job : work.claimJobs(claim).jobs) {
      String text = "Hello, " + ((Map<?, ?>) job.args).get("Name") + ", from Java";
      work.completeJob(job.id, new CompleteRequest().token(job.token).result(text));
    }
    System.out.println(jobs.getJob(id).result);
  }
}
